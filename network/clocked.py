"""Configurations whose kernels read a clock: what each takes at its place in the network.

Only what a compiled library can do by itself, so that it runs behind any server: every kernel ends with a
call of libc's ``clock_gettime`` and appends what that says to a tensor of the caller's. The first word of
this tensor counts the stamps, so that any number of runs in a row fill it without anybody's help.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from network.build import Tile
from network.layers import Network
from network.link import linker
from network.program import Call, Program, calls_of
from network.target import Target
from network.variants import Kernel, TensorSpec

Chosen = Mapping[str, Sequence[tuple[Kernel, Tile]]]
"""Layer to its kernels with their tiles."""
_MONOTONIC: Final = 1
_WORDS: Final = {"armv7l": "int32"}
"""A field of ``struct timespec`` where that has not 64 bits."""


@dataclass(frozen=True, slots=True)
class Clocked:
    """One configuration in a library: a function ``entry(*arguments, stamps)``."""

    entry: str
    arguments: tuple[TensorSpec, ...]
    """Inputs and parameters: a kernel's time does not depend on what is in them."""
    places: tuple[tuple[str, int, str], ...]
    """Layer, step and request of each kernel in the order in which they run."""
    stamps: TensorSpec
    """Words: how many stamps there are, then seconds and nanoseconds of each. A run leaves two of its
    beginning, one behind the other, and one of the end of each kernel."""


def assemble_clocked(
    network: Network, configurations: Sequence[Chosen], target: Target, runs: int, path: Path
) -> tuple[Clocked, ...]:
    """Compile configurations with clocks into the shared library ``path``; each has room for ``runs`` runs.

    They share their kernels: a library costs as much as the different kernels in it. Raises NetworkError when
    kernels do not fit their neighbours, or no linker is found.
    """
    link = linker(target.mtriple)
    isa, program, word = target.isa, Program(network), _WORDS.get(target.isa.architecture, "int64")
    every = [
        {layer.name: calls_of(layer.name, chosen[layer.name], isa) for layer in network.layers}
        for chosen in configurations
    ]
    longest = max(sum(map(len, calls.values())) for calls in every)
    stamps = TensorSpec((1 + 2 * runs * (longest + 2),), word, "zeros")
    found = [_add(program, network, f"clocked_{at}", calls, stamps) for at, calls in enumerate(every)]
    executable, _ = program.compiled(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    executable.export_library(str(path), fcompile=link)
    return tuple(found)


def _add(
    program: Program, network: Network, entry: str, calls: Mapping[str, Sequence[Call]], stamps: TensorSpec
) -> Clocked:
    from tvm import relax

    variable = relax.Var("stamps", relax.TensorType(stamps.shape, stamps.dtype))

    def begin(builder: Any) -> None:
        function = program.function("blinknet_clock", lambda: _beginning(stamps))
        builder.emit(relax.call_tir(function, [variable], relax.TensorType((1,), stamps.dtype)))

    program.add(entry, calls, wrap=lambda function: _clocked(function, stamps), extra=variable, begin=begin)
    ordered = [(layer.name, call) for layer in network.layers for call in calls[layer.name]]
    inputs = [TensorSpec((1, *shape), "float32") for shape in network.input_shapes.values()]
    parameters = [spec for _, call in ordered for _, spec in call.parameters]
    places = tuple((name, int(call.place.rpartition(".")[2]), call.request) for name, call in ordered)
    return Clocked(entry, (*inputs, *parameters), places, stamps)


def _clocked(function: Any, stamps: TensorSpec) -> Any:
    """The kernel with the stamps ahead of its output, and a stamp behind its last statement."""
    from tvm import tirx

    buffer = tirx.decl_buffer(stamps.shape, stamps.dtype, "stamps")
    *read, written = function.params
    body = tirx.SeqStmt([function.body, _stamp(buffer)])
    return tirx.PrimFunc([*read, buffer, written], body, function.ret_type, function.attrs)


def _beginning(stamps: TensorSpec) -> Any:
    """Two stamps, between which nothing is but a look at the clock. It writes as every kernel does."""
    from tvm import tirx

    buffer, written = (
        tirx.decl_buffer(shape, stamps.dtype, name) for name, shape in (("stamps", stamps.shape), ("y", (1,)))
    )
    body = [_stamp(buffer), _stamp(buffer), tirx.BufferStore(written, _word(0, stamps), [0])]
    return tirx.PrimFunc([buffer, written], tirx.SeqStmt(body))


def _stamp(buffer: Any) -> Any:
    """One more, while there is room."""
    from tvm import tirx

    dtype, room = buffer.dtype, (int(buffer.shape[0]) - 1) // 2
    count = tirx.BufferLoad(buffer, [0])
    place = tirx.address_of(tirx.BufferLoad(buffer, [1 + 2 * count]))
    read = tirx.Evaluate(tirx.call_extern("int32", "clock_gettime", _MONOTONIC, place))
    more = tirx.BufferStore(buffer, count + tirx.const(1, dtype), [0])
    return tirx.IfThenElse(count < tirx.const(room, dtype), tirx.SeqStmt([read, more]), None)


def _word(value: int, stamps: TensorSpec) -> Any:
    from tvm import tirx

    return tirx.const(value, stamps.dtype)
