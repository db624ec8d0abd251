"""An ONNX file as the nodes that lead from its inputs to its outputs."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import external_data_helper, helper

from network.errors import NetworkError
from network.onnx_constants import constants, folded, inferred

OPSETS = range(11, 23)
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """An ONNX node with the constants that it reads."""

    kind: str
    name: str
    """Empty where it has none."""
    output: str
    opset: int
    attributes: Mapping[str, Any]
    inputs: tuple[NDArray[Any] | None, ...]
    """Constant inputs by position; None where an input is computed or left out."""
    sources: tuple[str, ...]
    """Tensors that it reads and that are computed, in their order."""
    output_shape: tuple[int, ...] | None
    """As ONNX's shape inference sees it; None where that fails."""
    is_float: bool
    """Whether what it computes is float32; where nothing else is known, it is taken to be."""
    proto: onnx.NodeProto
    position: int
    """Of the output among those that the node writes."""

    def constant(self, position: int, what: str) -> NDArray[np.float32]:
        """The float constant at that position. Raises NetworkError where it is computed or left out."""
        value = self.inputs[position] if position < len(self.inputs) else None
        if value is None:
            raise self.error(f"needs a constant {what}", "fold or freeze the weights when exporting")
        return np.asarray(value, dtype=np.float32)

    def optional(self, position: int, what: str) -> NDArray[np.float32] | None:
        """The same, or None where the node has fewer inputs."""
        return self.constant(position, what) if position < len(self.inputs) else None

    def require(self, attribute: str, default: Any) -> None:
        """Raise NetworkError unless the attribute has its default: no other value is supported."""
        value = self.attributes.get(attribute, default)
        if value != default:
            raise self.error(f"has {attribute} = {value}", f"export it with {attribute} = {default}")

    def error(self, complaint: str, remedy: str) -> NetworkError:
        """What is wrong with this node and what to do next."""
        return NetworkError(
            f"node {self.name or self.output} ({self.kind}, opset {self.opset}) {complaint}; {remedy}"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """The nodes between inputs and outputs, each behind those that it reads."""

    name: str
    sha256: str
    inputs: Mapping[str, tuple[int, ...]]
    """``(channels, height, width)``, or ``(channels, length)``, by name; only what is read."""
    outputs: Mapping[str, str]
    """The tensor that each output is, by the output's name."""
    nodes: tuple[Node, ...]


def read_graph(path: Path) -> Graph:
    """What computes the outputs. Raises NetworkError where something else than inputs and constants does."""
    model, sha256 = _read(path)
    _check_opset(path, model)
    shapes = {each.name: _input_shape(path, each) for each in _inputs(model.graph)}
    outputs = {each.name: each.name for each in model.graph.output}
    nodes = _Walk(path, model, shapes).nodes(outputs)
    read = {*outputs, *(name for node in nodes for name in node.sources)}
    name = path.resolve().parent.name if path.stem == "model" else path.stem
    inputs = {name: shape for name, shape in shapes.items() if name in read}
    return Graph(name, sha256, inputs, outputs, nodes)


class _Walk:
    """From the outputs back to the inputs, over what is not constant."""

    def __init__(self, path: Path, model: onnx.ModelProto, inputs: Collection[str]) -> None:
        self.path = path
        self.graph = model.graph
        self.inputs = inputs
        self.opset = _opset(model)
        self.producers = {output: node for node in self.graph.node for output in node.output}
        self.inferred = inferred(model)
        self.constants = constants(self.graph, self.opset, self.inferred.shapes)
        if (
            shorter := folded(model, self.constants)
        ) is not model:  # It may tell more shapes, they constants.
            self.inferred = inferred(shorter)
            self.constants = constants(self.graph, self.opset, self.inferred.shapes)

    def nodes(self, outputs: Iterable[str]) -> tuple[Node, ...]:
        """In the order of the file, which ONNX wants to be topological."""
        needed: dict[str, Node] = {}
        wanted = list(outputs)
        while wanted:
            tensor = wanted.pop()
            if tensor in self.inputs or tensor in needed:
                continue
            if tensor not in self.producers:
                names = ", ".join(self.inputs) or "none"
                raise NetworkError(
                    f"{self.path}: tensor {tensor} does not come from the inputs ({names}); export again"
                )
            node = self._node(self.producers[tensor], tensor)
            needed[tensor] = node
            wanted += node.sources
        order = [output for each in self.graph.node for output in each.output]
        return tuple(needed[output] for output in order if output in needed)

    def _node(self, proto: onnx.NodeProto, output: str) -> Node:
        attributes = {each.name: helper.get_attribute_value(each) for each in proto.attribute}
        inputs = tuple(self.constants.get(name) for name in proto.input)
        sources = self._sources(proto)
        node = Node(
            proto.op_type,
            proto.name,
            output,
            self.opset,
            attributes,
            inputs,
            sources,
            self.inferred.shapes.get(output),
            output not in self.inferred.others,
            proto,
            list(proto.output).index(output),
        )
        if not sources:
            raise node.error("reads only constants", "export again with constants folded")
        return node

    def _sources(self, proto: onnx.NodeProto) -> tuple[str, ...]:
        """What it computes with; where a reshape's target is computed, its shape says all there is to say."""
        computed = [name for name in proto.input if name and name not in self.constants]
        return tuple(computed[:1] if proto.op_type == "Reshape" else computed)


def _read(path: Path) -> tuple[onnx.ModelProto, str]:
    try:
        content = path.read_bytes()
        model = onnx.load_model_from_string(content)
        digest = hashlib.sha256(content)
        _load_external(path, model, digest)
        onnx.checker.check_model(model)
    except FileNotFoundError as error:
        raise NetworkError(f"no network at {error.filename or path}; name an .onnx file") from None
    except (OSError, DecodeError, ValueError, onnx.checker.ValidationError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise NetworkError(f"{path} is not a valid ONNX file ({reason}); export it again") from error
    return model, digest.hexdigest()


def _load_external(path: Path, model: onnx.ModelProto, digest: Any) -> None:
    """Weights in files of their own are part of the network, so the hash covers them too."""
    external = [each for each in model.graph.initializer if external_data_helper.uses_external_data(each)]
    for tensor in external:
        external_data_helper.load_external_data_for_tensor(tensor, str(path.parent))
        tensor.data_location = onnx.TensorProto.DEFAULT
        digest.update(tensor.raw_data)


def _opset(model: onnx.ModelProto) -> int:
    versions = (int(each.version) for each in model.opset_import if each.domain in {"", "ai.onnx"})
    newest: int = max(versions, default=0)
    return newest


def _check_opset(path: Path, model: onnx.ModelProto) -> None:
    if _opset(model) not in OPSETS:
        wanted = f"export it with opset {OPSETS[0]} to {OPSETS[-1]}"
        raise NetworkError(f"{path} uses ONNX opset {_opset(model)}; {wanted}")


def _inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Before IR version 4, initializers were listed as inputs too."""
    initializers = {each.name for each in graph.initializer}
    return [each for each in graph.input if each.name not in initializers]


def _input_shape(path: Path, source: onnx.ValueInfoProto) -> tuple[int, ...]:
    """Without the batch; an open batch dimension is set to 1, which is said, as shape inference needs it."""
    tensor = source.type.tensor_type
    if tensor.elem_type != onnx.TensorProto.FLOAT:
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type)
        raise NetworkError(f"{path}: input {source.name} is {kind}; export it with a FLOAT input")
    dimensions = list(tensor.shape.dim)
    if len(dimensions) not in {3, 4}:
        raise NetworkError(
            f"{path}: input {source.name} has {len(dimensions)} dimensions; BlinkNet reads images "
            "(batch, channels, height, width) and series (batch, channels, length): export it with those"
        )
    if dimensions[0].dim_value > 1:
        raise NetworkError(f"{path}: input {source.name} has batch {dimensions[0].dim_value}; export with 1")
    if dimensions[0].dim_value == 0:
        _LOGGER.warning("%s: the batch of input %s is open; it is taken to be 1", path, source.name)
    dimensions[0].dim_value = 1
    sizes = tuple(each.dim_value for each in dimensions[1:])
    if min(sizes) < 1:
        raise NetworkError(
            f"{path}: the shape of input {source.name} is not known; export it with fixed sizes"
        )
    return sizes
