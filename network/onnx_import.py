"""From an ONNX file to a network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from math import prod
from pathlib import Path

from network.draft import Draft, Tensor
from network.errors import NetworkError
from network.layers import INPUT, Layer, Network
from network.onnx_graph import Graph, Node, read_graph
from network.onnx_names import plain_name
from network.onnx_opaque import opaque
from network.onnx_operators import Operator, operators


def load(path: str | Path) -> Network:
    """Read a trained network.

    Batch normalisation, constants and ReLU are folded exactly (network.fusion); dropout and identity vanish;
    a softmax at the end of a classifier (one output, one row of classes) is dropped, because it does not
    change which class is largest. Every other output is what ONNX has there, in ONNX's order. A series
    ``(batch, channels, length)`` is an image of height 1. What there is no layer for is an opaque one, exact
    but not tuned, if TVM's ONNX frontend knows it. Raises NetworkError for anything else: a missing or broken
    file, a rank or shape that is not supported, an operator that TVM does not know, computed weights.
    """
    graph = _without_softmax(read_graph(Path(path)))
    draft = Draft(_readers(graph))
    for name, shape in graph.inputs.items():
        draft.bind(name, draft.add(_input_layer(graph, name, shape), len(shape) + 1))
    within: dict[str, Node] = {}
    for node in graph.nodes:
        if node.is_float:
            draft.bind(node.output, _imported(draft, node, within))
        else:
            within[node.output] = node
    _check_outputs(graph, within)
    if not graph.nodes:
        raise NetworkError(f"{path} has no layers; export the trained network")
    outputs = draft.outputs(graph.outputs)
    return Network(graph.name, graph.sha256, draft.layers, outputs)


def _input_layer(graph: Graph, name: str, shape: tuple[int, ...]) -> Layer:
    channels, *sizes = shape
    height, width = sizes if len(sizes) == 2 else (1, *sizes)
    brought = (height, width, channels)
    return Layer(INPUT if len(graph.inputs) == 1 else plain_name(name), "input", (), brought, brought)


def _without_softmax(graph: Graph) -> Graph:
    if len(graph.outputs) == 1 and graph.nodes and _classifies(graph.nodes[-1]):
        *others, last = graph.nodes
        return replace(graph, outputs=dict.fromkeys(graph.outputs, last.sources[0]), nodes=tuple(others))
    return graph


def _classifies(node: Node) -> bool:
    """Whether it is a softmax over one row of classes, as far as is known."""
    return node.kind in {"Softmax", "LogSoftmax"} and prod((node.output_shape or ())[2:]) == 1


def _readers(graph: Graph) -> Counter[str]:
    """Of each tensor; whoever uses the network reads its outputs."""
    return Counter([*graph.outputs.values(), *(name for node in graph.nodes for name in node.sources)])


def _check_outputs(graph: Graph, within: Mapping[str, Node]) -> None:
    for tensor in graph.outputs.values():
        if tensor in within:
            raise within[tensor].error("is an output, but is not supported", "export it with FLOAT outputs")


def _imported(draft: Draft, node: Node, within: Mapping[str, Node]) -> Tensor:
    """By a layer of ours, or by an opaque one where there is none.

    ``within`` are the nodes whose tensors are not float32: they go into the layers of what reads them.
    """
    if ahead := _ahead(node, within):
        return opaque(draft, node, tuple(ahead.values()), node.error("is not supported", _known()))
    try:
        return _operator(node)(draft, node, tuple(draft.read(name) for name in node.sources))
    except NetworkError as unsupported:
        return opaque(draft, node, (), unsupported)


def _ahead(node: Node, within: Mapping[str, Node]) -> dict[str, Node]:
    """What the node reads of those, and what these read, in the order in which it is computed."""
    found: dict[str, Node] = {}
    for name in node.sources:
        if name in within:
            found |= _ahead(within[name], within) | {name: within[name]}
    return found


def _operator(node: Node) -> Operator:
    known = operators()
    if node.kind not in known or node.position > 0:
        which = f"is not supported for output {node.output}" if node.position else "is not supported"
        raise node.error(which, _known())
    return known[node.kind]


def _known() -> str:
    return f"rewrite the network with: {', '.join(operators())}"
