"""An ONNX file as the nodes that lead from its one input to its one output."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import external_data_helper, helper, numpy_helper, shape_inference

from network.errors import NetworkError

OPSETS = range(11, 23)


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
    """The nodes between input and output, each behind those that it reads."""

    name: str
    sha256: str
    input_name: str
    input_shape: tuple[int, ...]
    """``(channels, height, width)``, or ``(channels, length)``."""
    output_name: str
    nodes: tuple[Node, ...]


def read_graph(path: Path) -> Graph:
    """What computes the output. Raises NetworkError where that is not one tensor from one tensor."""
    model, sha256 = _read(path)
    _check_opset(path, model)
    source = _only(path, "input", _inputs(model.graph))
    target = _only(path, "output", list(model.graph.output))
    shape = _input_shape(path, source)
    nodes = _Walk(path, model, source.name).nodes(target.name)
    name = path.resolve().parent.name if path.stem == "model" else path.stem
    return Graph(name, sha256, source.name, shape, target.name, nodes)


class _Walk:
    """From the output back to the input, over what is not constant."""

    def __init__(self, path: Path, model: onnx.ModelProto, source: str) -> None:
        self.path = path
        self.graph = model.graph
        self.source = source
        self.opset = _opset(model)
        self.producers = {output: node for node in self.graph.node for output in node.output}
        self.constants = _constants(self.graph)
        self.shapes = _inferred_shapes(model)

    def nodes(self, target: str) -> tuple[Node, ...]:
        """In the order of the file, which ONNX wants to be topological."""
        needed: dict[str, Node] = {}
        wanted = [target]
        while wanted:
            tensor = wanted.pop()
            if tensor == self.source or tensor in needed:
                continue
            if tensor not in self.producers:
                raise NetworkError(
                    f"{self.path}: tensor {tensor} does not come from the input {self.source}; export again"
                )
            node = self._node(self.producers[tensor])
            needed[tensor] = node
            wanted += node.sources
        order = [output for each in self.graph.node for output in each.output]
        return tuple(needed[output] for output in order if output in needed)

    def _node(self, proto: onnx.NodeProto) -> Node:
        attributes = {each.name: helper.get_attribute_value(each) for each in proto.attribute}
        inputs = tuple(self.constants.get(name) for name in proto.input)
        output = proto.output[0]
        sources = self._sources(proto)
        node = Node(
            proto.op_type,
            proto.name,
            output,
            self.opset,
            attributes,
            inputs,
            sources,
            self.shapes.get(output),
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


def _only(path: Path, what: str, values: list[onnx.ValueInfoProto]) -> onnx.ValueInfoProto:
    if len(values) != 1:
        names = ", ".join(each.name for each in values) or "none"
        raise NetworkError(f"{path} has {len(values)} {what}s ({names}); export it with one {what}")
    return values[0]


def _input_shape(path: Path, source: onnx.ValueInfoProto) -> tuple[int, ...]:
    """Without the batch; an open batch dimension is set to 1, as shape inference needs it."""
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
    dimensions[0].dim_value = 1
    sizes = tuple(each.dim_value for each in dimensions[1:])
    if min(sizes) < 1:
        raise NetworkError(
            f"{path}: the shape of input {source.name} is not known; export it with fixed sizes"
        )
    return sizes


def _constants(graph: onnx.GraphProto) -> dict[str, NDArray[Any]]:
    """Initializers and Constant nodes, also behind an Identity."""
    found = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            found[node.output[0]] = _constant_value(node)
        elif node.op_type == "Identity" and node.input[0] in found:
            found[node.output[0]] = found[node.input[0]]
    return found


def _constant_value(node: onnx.NodeProto) -> NDArray[Any]:
    value = helper.get_attribute_value(node.attribute[0])
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def _inferred_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Shapes that are fully known; a flatten written as shape arithmetic needs data propagation."""
    try:
        graph = shape_inference.infer_shapes(model, data_prop=True).graph
    except shape_inference.InferenceError:
        return {}
    shapes = {}
    for value in (*graph.value_info, *graph.output):
        dimensions = [each.dim_value for each in value.type.tensor_type.shape.dim]
        if all(dimensions):
            shapes[value.name] = tuple(dimensions)
    return shapes
