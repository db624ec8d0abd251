"""A network's ``main`` as one call of a kernel after the other, and how it becomes an executable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

from network.build import Tile, request_key, symbol
from network.errors import NetworkError
from network.isa import Isa
from network.layers import Network
from network.lowering import pipeline, unchecked
from network.target import Target
from network.variants import Kernel, TensorSpec

Wrap = Callable[[Any], Any]
"""From a PrimFunc to one that does more."""


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One kernel at its place in the network."""

    kernel: Kernel
    tile: Tile
    isa: Isa
    place: str
    """Layer and step: ``conv1.0``."""

    @property
    def request(self) -> str:
        """Content key of kernel and tile."""
        return request_key(self.kernel, self.tile)

    @property
    def symbol(self) -> str:
        """Equal for equal kernels, which are compiled once."""
        return symbol(self.request)

    @property
    def parameters(self) -> tuple[tuple[str, TensorSpec], ...]:
        """Name and shape of each packed parameter."""
        specs = self.kernel.arguments(self.isa)[self.kernel.inputs : -1]
        return tuple((f"{self.place}.{index}", each) for index, each in enumerate(specs))


Calls = Mapping[str, Sequence[Call]]
"""Layer to its kernels."""


def calls_of(layer: str, kernels: Iterable[tuple[Kernel, Tile]], isa: Isa) -> tuple[Call, ...]:
    """A layer's kernels in the order in which they run."""
    return tuple(Call(kernel, tile, isa, f"{layer}.{step}") for step, (kernel, tile) in enumerate(kernels))


class Program:
    """A module under construction: any number of ``main`` functions that share their kernels."""

    def __init__(self, network: Network) -> None:
        from tvm import relax

        self.builder = relax.BlockBuilder()
        self._network = network
        self._functions: dict[str, Any] = {}

    def add(
        self,
        name: str,
        calls: Calls,
        *,
        wrap: Wrap | None = None,
        extra: Any = None,
        begin: Callable[[Any], Any] | None = None,
    ) -> None:
        """A function ``name(*inputs, *parameters)``.

        With ``extra`` it takes that variable last, and gives it to every kernel behind its parameters;
        ``wrap`` makes the kernels that take it, and ``begin`` emits what comes first.

        Raises NetworkError where a kernel does not read what the one before it writes.
        """
        from tvm import relax

        network, builder = self._network, self.builder
        every = [call for layer in network.layers for call in calls[layer.name]]
        functions = {call.symbol: self.function(call.symbol, partial(_kernel, call, wrap)) for call in every}
        inputs = {each: _variable(each, (1, *shape)) for each, shape in network.input_shapes.items()}
        variables = {each: _variable(each, *spec) for call in every for each, spec in _specs(call)}
        last = [] if extra is None else [extra]
        with builder.function(name, [*inputs.values(), *variables.values(), *last]):
            if begin is not None:
                begin(builder)
            values: dict[str, Any] = {}
            for layer in network.layers:
                read = [values[each] for each in layer.inputs] or [inputs[layer.name]]
                for call in calls[layer.name]:
                    given = [*(variables[each] for each, _ in call.parameters), *last]
                    read = [self._emitted(call, functions[call.symbol], read, given)]
                (values[layer.name],) = read
            results = [
                _viewed(builder, values[each.layer], TensorSpec((1, *each.shape), "float32"), name)
                for each in network.outputs
            ]
            builder.emit_func_output(results[0] if len(results) == 1 else relax.Tuple(results))

    def compiled(self, target: Target) -> tuple[Any, dict[str, int]]:
        """The executable, and for each function the bytes of its planned storage."""
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
            planned = plan(self.builder.get())
            executable = relax.build(
                lower(planned),
                target=tvm_target,
                relax_pipeline=None,
                tir_pipeline=pipeline(),
                # Half the bytecode interpreter's overhead: 10 % of a small int8 network.
                exec_mode="compiled",
            )
        return executable, {
            name.name_hint: _planned_bytes(each)
            for name, each in planned.functions.items()
            if isinstance(each, relax.Function)
        }

    def function(self, name: str, made: Callable[[], Any]) -> Any:
        """A PrimFunc of this name, made and compiled once for all functions."""
        if name not in self._functions:
            self._functions[name] = self.builder.add_func(made(), name)
        return self._functions[name]

    def _emitted(self, call: Call, function: Any, read: Sequence[Any], given: Sequence[Any]) -> Any:
        from tvm import relax

        *arguments, result = call.kernel.arguments(call.isa)
        sources = arguments[: call.kernel.inputs]
        inputs = [
            _viewed(self.builder, value, source, call.place)
            for value, source in zip(read, sources, strict=True)
        ]
        shape = relax.TensorType(result.shape, result.dtype)
        return self.builder.emit(relax.call_tir(function, [*inputs, *given], shape))


def _kernel(call: Call, wrap: Wrap | None) -> Any:
    function = call.kernel.prim_func(call.isa, call.tile)
    return wrap(function) if wrap else function


def _specs(call: Call) -> list[tuple[str, tuple[tuple[int, ...], str]]]:
    return [(name, (each.shape, each.dtype)) for name, each in call.parameters]


def _variable(name: str, shape: tuple[int, ...], dtype: str = "float32") -> Any:
    from tvm import relax

    return relax.Var(name, relax.TensorType(shape, dtype))


def _viewed(builder: Any, value: Any, wanted: TensorSpec, place: str) -> Any:
    """The same bytes under another shape: no kernel runs for it."""
    from tvm import relax

    shape, dtype = tuple(map(int, value.ty.shape)), str(value.ty.dtype)
    if (prod(shape), dtype) != (prod(wanted.shape), wanted.dtype):
        raise NetworkError(
            f"{place} reads {wanted.dtype}{list(wanted.shape)} and is given {dtype}{list(shape)}; "
            "choose kernels that agree"
        )
    if shape == tuple(wanted.shape):
        return value
    tensor = relax.TensorType(wanted.shape, wanted.dtype)
    call = relax.op.call_pure_packed(
        "vm.builtin.reshape", value, relax.ShapeExpr(wanted.shape), ty_args=tensor
    )
    return builder.emit(call)


def _planned_bytes(function: Any) -> int:
    """Every planned storage, and the results, which are the caller's and cannot share one."""
    bindings = [binding for block in function.body.blocks for binding in block.bindings]
    return sum(_allocated(binding.value) for binding in bindings)


def _allocated(value: Any) -> int:
    operator = getattr(getattr(value, "op", None), "name", "")
    if operator == "relax.memory.alloc_storage":
        return int(value.args[0].values[0])
    if operator == "relax.builtin.alloc_tensor":
        return TensorSpec(tuple(map(int, value.args[0].values)), str(value.args[1].value)).nbytes
    return 0
