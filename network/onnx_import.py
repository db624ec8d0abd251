"""From an ONNX file to a network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from network.errors import NetworkError
from network.layers import INPUT, Layer, Network
from network.onnx_graph import Graph, Node, read_graph
from network.onnx_operators import OPERATORS, Chain


def load(path: str | Path) -> Network:
    """Read a trained network that classifies images.

    Layers form a chain. Batch normalisation, added constants and ReLU are folded exactly (network.fusion);
    dropout and identity vanish; a softmax at the end is dropped, because it does not change which class is
    largest. The last layer's output is ``(1, 1, classes)``. Raises NetworkError for anything else: a missing
    or broken file, an operator, attribute, rank or shape that is not supported, weights that are computed.
    """
    graph = read_graph(Path(path))
    chain = Chain((_input_layer(graph),))
    for node in _without_softmax(graph.nodes):
        chain = _operator(node)(chain, node)
    _check_output(path, chain)
    return Network(graph.name, graph.sha256, graph.input_shape, chain.layers)


def _input_layer(graph: Graph) -> Layer:
    channels, height, width = graph.input_shape
    shape = (height, width, channels)
    return Layer(INPUT, "input", (), shape, shape)


def _without_softmax(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    if nodes and nodes[-1].kind in {"Softmax", "LogSoftmax"}:
        return nodes[:-1]
    return nodes


def _operator(node: Node) -> Callable[[Chain, Node], Chain]:
    if node.kind not in OPERATORS:
        supported = ", ".join((*OPERATORS, "Softmax at the end"))
        raise node.error("is not supported", f"rewrite the network with: {supported}")
    return OPERATORS[node.kind]


def _check_output(path: str | Path, chain: Chain) -> None:
    if len(chain.layers) == 1:
        raise NetworkError(f"{path} has no layers; export the trained network")
    if chain.shape[:2] != (1, 1):
        height, width, channels = chain.shape
        raise NetworkError(
            f"{path}: the output is {channels}x{height}x{width}; BlinkNet reads classifiers, "
            "whose output is one value a class (end with a dense layer or a global average pool)"
        )
