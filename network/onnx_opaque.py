"""What the importer makes of an operator, or of a use of one, that it has no layer for: an opaque layer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from network.draft import Draft, Tensor
from network.errors import NetworkError
from network.kernels.opaque import Opaque
from network.layers import Layer
from network.onnx_graph import Node
from network.opaque import Part, Read, evaluated_shape, isolated, our_shape
from network.variants import TensorSpec


def opaque(draft: Draft, node: Node, ahead: Sequence[Node], unsupported: NetworkError) -> Tensor:
    """A layer that TVM's ONNX frontend compiles from the node alone, and from those ``ahead`` in its order.

    Raises ``unsupported`` where the shape of its output is not known, or is none that a layer can write; an
    error that says why besides where TVM cannot import the node either.
    """
    nodes = (*ahead, node)
    inner = {each.output for each in ahead}
    names = dict.fromkeys(name for each in nodes for name in each.sources if name not in inner)
    tensors = {name: draft.read(name) for name in names}
    reads = {name: Read(draft.shape(each), draft.onnx_shape(each)) for name, each in tensors.items()}
    alone = partial(isolated, [_part(each) for each in nodes], node.output, node.opset, reads)
    shape = node.output_shape or evaluated_shape(alone(None)) or ()
    written = our_shape(shape)
    if written is None:
        raise unsupported
    kernel = Opaque(node.kind, alone(written), tuple(each.shape for each in reads.values()), written)
    _check(kernel, unsupported)
    layer = Layer(
        draft.name(node, node.kind.lower()),
        "opaque",
        tuple(each.layer for each in tensors.values()),
        kernel.shapes[0],
        written,
        settings={"kernel": kernel},
    )
    return draft.add(layer, len(shape))


def _part(node: Node) -> Part:
    """Where a reshape's target is computed, its shape says all there is to say."""
    constants = list(node.inputs)
    if node.kind == "Reshape" and node.output_shape is not None:
        constants[1:] = [np.array(node.output_shape, np.int64)]
    return Part(node.proto, constants)


def _check(kernel: Opaque, unsupported: NetworkError) -> None:
    """Raise NetworkError unless TVM makes of the model what a layer can write."""
    height, width, channels = kernel.shape
    try:
        found = kernel.lowered.output
    except NetworkError as error:
        raise NetworkError(f"{unsupported}; {error}") from error
    if found != TensorSpec((height, width * channels), "float32"):
        raise NetworkError(f"{unsupported}; TVM gives {found.dtype}{list(found.shape)} for it")
