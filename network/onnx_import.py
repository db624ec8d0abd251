"""From an ONNX file to a network."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from network.draft import Draft
from network.errors import NetworkError
from network.layers import INPUT, Layer, Network
from network.onnx_graph import Graph, Node, read_graph
from network.onnx_operators import Operator, operators


def load(path: str | Path) -> Network:
    """Read a trained network with one input and one output.

    Batch normalisation, constants and ReLU are folded exactly (network.fusion); dropout and identity vanish;
    a softmax at the end is dropped, because it does not change which class is largest. A series
    ``(batch, channels, length)`` is an image of height 1. Raises NetworkError for anything else: a missing or
    broken file, an operator, attribute, rank or shape that is not supported, weights that are computed.
    """
    graph = _without_softmax(read_graph(Path(path)))
    source = _input_layer(graph)
    draft = Draft(source, len(graph.input_shape) + 1, graph.input_name, _readers(graph))
    for node in graph.nodes:
        inputs = tuple(draft.read(name) for name in node.sources)
        draft.bind(node.output, _operator(node)(draft, node, inputs))
    if len(draft.layers) == 1:
        raise NetworkError(f"{path} has no layers; export the trained network")
    channels, *sizes = graph.input_shape
    height, width = sizes if len(sizes) == 2 else (1, *sizes)
    return Network(graph.name, graph.sha256, (channels, height, width), draft.layers)


def _input_layer(graph: Graph) -> Layer:
    channels, *sizes = graph.input_shape
    height, width = sizes if len(sizes) == 2 else (1, *sizes)
    shape = (height, width, channels)
    return Layer(INPUT, "input", (), shape, shape)


def _without_softmax(graph: Graph) -> Graph:
    if graph.nodes and graph.nodes[-1].kind in {"Softmax", "LogSoftmax"}:
        *others, last = graph.nodes
        return Graph(
            graph.name, graph.sha256, graph.input_name, graph.input_shape, last.sources[0], tuple(others)
        )
    return graph


def _readers(graph: Graph) -> Counter[str]:
    """Of each tensor; whoever uses the network reads its output."""
    return Counter([graph.output_name, *(name for node in graph.nodes for name in node.sources)])


def _operator(node: Node) -> Operator:
    known = operators()
    if node.kind not in known:
        raise node.error("is not supported", f"rewrite the network with: {', '.join(known)}")
    return known[node.kind]
