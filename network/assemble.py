"""Puts the chosen variants of a network's layers together into one executable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from network.build import Tile, request_key, symbol
from network.errors import NetworkError
from network.isa import Isa
from network.layers import Layer, Network
from network.link import linker
from network.lowering import pipeline, unchecked
from network.target import Target
from network.variants import Fitted, Form, Kernel, Step, TensorSpec

Parameters = tuple[tuple[str, NDArray[Any]], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """A layer's variant with its parameters, and the tile of each of its kernels."""

    fitted: Fitted
    tiles: tuple[Tile, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Assembled:
    """A library whose ``main(*inputs, *parameters)`` runs the network; sizes in bytes.

    Each input is float32 (1, channels, height, width). The result is float32 (1, *shape) in ONNX's order; of
    a network with several outputs, a tuple of such.
    """

    path: Path
    parameters: Parameters
    """Names and packed values in the order of the call."""
    planned_bytes: int
    """All activations, after those that are never alive together were given the same storage."""
    workspace_bytes: int
    """Buffers of the kernel that has the largest."""
    parameter_bytes: int
    library_bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """One kernel in the network."""

    kernel: Kernel
    tile: Tile
    parameters: Parameters
    isa: Isa

    @property
    def symbol(self) -> str:
        """Equal for equal kernels, which are compiled once."""
        return symbol(request_key(self.kernel, self.tile))


def assemble(network: Network, choices: Mapping[str, Choice], target: Target, path: Path) -> Assembled:
    """Compile a configuration, a choice for every layer by name, into the shared library ``path``.

    Raises NetworkError when a layer has no choice, a choice does not fit its layer's neighbours, or no linker
    is found.
    """
    link = linker(target.mtriple)
    check_choices(network, choices)
    isa = target.isa
    calls = {layer.name: _calls(layer, choices[layer.name], isa) for layer in network.layers}
    executable, planned = _compiled(network, calls, target)
    path.parent.mkdir(parents=True, exist_ok=True)
    executable.export_library(str(path), fcompile=link)
    every = [call for each in calls.values() for call in each]
    parameters = tuple(named for call in every for named in call.parameters)
    return Assembled(
        path=path,
        parameters=parameters,
        planned_bytes=planned,
        workspace_bytes=max((call.kernel.work(isa).workspace_bytes for call in every), default=0),
        parameter_bytes=sum(array.nbytes for _, array in parameters),
        library_bytes=path.stat().st_size,
    )


def check_choices(network: Network, choices: Mapping[str, Choice]) -> None:
    """Raise NetworkError unless every layer has a choice and neighbours agree on the tensors between them."""
    for layer in network.layers:
        if layer.name not in choices:
            raise NetworkError(f"layer {layer.name} of network {network.name} has no choice; add one")
        _check_tiles(layer.name, choices[layer.name])
    for source, layer_name in network.edges:
        written, read = (choices[each].fitted.variant for each in (source, layer_name))
        if written.writes != read.reads:
            raise NetworkError(
                f"layer {source} ({written.key}) writes {written.writes} and layer {layer_name} "
                f"({read.key}) reads {read.reads}; choose variants that agree"
            )
    for output in network.outputs:
        if choices[output.layer].fitted.variant.writes != Form("float32"):
            raise NetworkError(
                f"layer {output.layer} is an output; choose a variant that writes all of it in float32"
            )


def _check_tiles(layer: str, choice: Choice) -> None:
    steps, tiles = len(choice.fitted.steps), len(choice.tiles)
    if steps != tiles:
        raise NetworkError(f"layer {layer} has {steps} steps and {tiles} tiles; give one tile a step")


def _calls(layer: Layer, choice: Choice, isa: Isa) -> tuple[_Call, ...]:
    steps = zip(choice.fitted.steps, choice.tiles, strict=True)
    return tuple(
        _Call(step.kernel, tile, _packed(f"{layer.name}.{position}", step, isa), isa)
        for position, (step, tile) in enumerate(steps)
    )


def _packed(prefix: str, step: Step, isa: Isa) -> Parameters:
    arrays = step.kernel.pack(isa, step.parameters)
    return tuple((f"{prefix}.{index}", array) for index, array in enumerate(arrays))


def _compiled(network: Network, calls: Mapping[str, tuple[_Call, ...]], target: Target) -> tuple[Any, int]:
    """The executable, and the bytes of its planned storage."""
    from tvm import relax, transform
    from tvm.relax import transform as passes

    plan = transform.Sequential(
        [
            passes.RemovePurityChecking(),
            passes.CallTIRRewrite(),
            passes.StaticPlanBlockMemory(),
        ]
    )
    lower = transform.Sequential(
        [
            passes.LowerAllocTensor(),
            passes.KillAfterLastUse(),
            passes.LowerRuntimeBuiltin(),
            passes.ComputePrimValue(),
            passes.VMShapeLower(),
            passes.AttachGlobalSymbol(),
        ]
    )
    tvm_target = target.to_tvm()
    with unchecked(), tvm_target:
        planned = plan(_module(network, calls))
        executable = relax.build(
            lower(planned),
            target=tvm_target,
            relax_pipeline=None,
            tir_pipeline=pipeline(),
            exec_mode="compiled",  # Half the bytecode interpreter's overhead: 10 % of a small int8 network.
        )
    return executable, _planned_bytes(planned)


def _module(network: Network, calls: Mapping[str, tuple[_Call, ...]]) -> Any:
    """``main`` as one call after the other, and each different kernel once."""
    from tvm import relax

    builder = relax.BlockBuilder()
    every = [call for each in calls.values() for call in each]
    functions = {
        call.symbol: builder.add_func(call.kernel.prim_func(call.isa, call.tile), call.symbol)
        for call in {call.symbol: call for call in every}.values()
    }
    inputs = {
        name: relax.Var(name, relax.TensorType((1, *shape), "float32"))
        for name, shape in network.input_shapes.items()
    }
    variables = {
        name: relax.Var(name, relax.TensorType(array.shape, str(array.dtype)))
        for call in every
        for name, array in call.parameters
    }
    with builder.function("main", [*inputs.values(), *variables.values()]):
        values: dict[str, Any] = {}
        for layer in network.layers:
            read = [values[name] for name in layer.inputs] or [inputs[layer.name]]
            for call in calls[layer.name]:
                read = [_emitted(builder, call, functions[call.symbol], read, variables)]
            (values[layer.name],) = read
        results = [
            _viewed(builder, values[each.layer], (1, *each.shape), "float32") for each in network.outputs
        ]
        builder.emit_func_output(results[0] if len(results) == 1 else relax.Tuple(results))
    return builder.get()


def _emitted(
    builder: Any, call: _Call, function: Any, read: Sequence[Any], variables: Mapping[str, Any]
) -> Any:
    from tvm import relax

    *arguments, result = call.kernel.arguments(call.isa)
    sources = arguments[: call.kernel.inputs]
    inputs = [_viewed(builder, *each) for each in _shaped(read, sources)]
    inputs += [variables[name] for name, _ in call.parameters]
    return builder.emit(relax.call_tir(function, inputs, relax.TensorType(result.shape, result.dtype)))


def _shaped(read: Sequence[Any], sources: Sequence[TensorSpec]) -> list[tuple[Any, tuple[int, ...], str]]:
    return [(value, each.shape, each.dtype) for value, each in zip(read, sources, strict=True)]


def _viewed(builder: Any, value: Any, shape: tuple[int, ...], dtype: str) -> Any:
    """The same bytes under another shape: no kernel runs for it."""
    from tvm import relax

    if tuple(map(int, value.ty.shape)) == tuple(shape):
        return value
    tensor = relax.TensorType(shape, dtype)
    call = relax.op.call_pure_packed("vm.builtin.reshape", value, relax.ShapeExpr(shape), ty_args=tensor)
    return builder.emit(call)


def _planned_bytes(module: Any) -> int:
    """Every planned storage, and the results, which are the caller's and cannot share one."""
    bindings = [binding for block in module["main"].body.blocks for binding in block.bindings]
    return sum(_allocated(binding.value) for binding in bindings)


def _allocated(value: Any) -> int:
    operator = getattr(getattr(value, "op", None), "name", "")
    if operator == "relax.memory.alloc_storage":
        return int(value.args[0].values[0])
    if operator == "relax.builtin.alloc_tensor":
        return TensorSpec(tuple(map(int, value.args[0].values)), str(value.args[1].value)).nbytes
    return 0
