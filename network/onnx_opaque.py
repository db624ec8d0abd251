"""What the importer makes of an operator, or of a use of one, that it has no layer for: an opaque layer."""

from __future__ import annotations

import numpy as np

from network.draft import Draft, Tensor
from network.errors import NetworkError
from network.kernels.opaque import Opaque
from network.layers import Layer
from network.onnx_graph import Node
from network.opaque import Read, isolated, our_shape
from network.variants import TensorSpec


def opaque(draft: Draft, node: Node, inputs: tuple[Tensor, ...], unsupported: NetworkError) -> Tensor:
    """A layer that TVM's ONNX frontend compiles from the node alone.

    Raises ``unsupported`` where the shape of its output is not known, or is none that a layer can write; an
    error that says why besides where TVM cannot import the node either.
    """
    written = our_shape(node.output_shape or ())
    if written is None or node.output_shape is None:
        raise unsupported
    constants = list(node.inputs)
    if node.kind == "Reshape":  # Its target may be computed; its shape says all there is to say.
        constants[1:] = [np.array(node.output_shape, np.int64)]
    reads = [Read(draft.shape(each), draft.onnx_shape(each)) for each in inputs]
    model = isolated(node.proto, node.position, node.opset, constants, reads, written)
    kernel = Opaque(node.kind, model, tuple(each.shape for each in reads), written)
    height, width, channels = written
    try:
        found = kernel.lowered.output
    except NetworkError as error:
        raise NetworkError(f"{unsupported}; {error}") from error
    if found != TensorSpec((height, width * channels), "float32"):
        raise NetworkError(f"{unsupported}; TVM gives {found.dtype}{list(found.shape)} for it")
    layer = Layer(
        draft.name(node, node.kind.lower()),
        "opaque",
        tuple(each.layer for each in inputs),
        reads[0].shape,
        written,
        settings={"kernel": kernel},
    )
    return draft.add(layer, len(node.output_shape))
