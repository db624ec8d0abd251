"""The few words that the kernels' loops are written in, over TVM's IR builder.

Kernels state their loops and vectors outright instead of scheduling a tensor expression: tails are exact,
nothing is left to a vectoriser's guess, and a kernel is lowered in milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script.builder import ir as T  # noqa: N812 (its name everywhere in TVM)

from network.variants import TensorSpec

Expr = Any
Buffer = Any
Body = Callable[..., None]

serial = T.serial
bind = T.Bind
minimum = tirx.min
maximum = tirx.max


def function(names: Sequence[str], arguments: Sequence[TensorSpec], body: Body) -> Any:
    """A PrimFunc of ``arguments`` whose statements ``body(**buffers by name)`` emits."""
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        T.func_name("main")
        buffers = {
            name: T.arg(name, T.buffer(spec.shape, spec.dtype))
            for name, spec in zip(names, arguments, strict=True)
        }
        body(**buffers)
    return builder.get()


def repeat(count: int) -> AbstractContextManager[Expr]:
    """A loop over ``range(count)``; for a count of 1 no loop, and the index 0."""
    return nullcontext(0) if count == 1 else serial(0, count)


def spread(threads: int, extent: int, operations: int) -> AbstractContextManager[Expr]:
    """A loop over ``range(extent)``, on several threads where so many operations are worth their start."""
    if min(threads, extent) == 1 or operations < _WORTH_THREADS:
        return serial(0, extent)
    return T.parallel(0, extent)


_WORTH_THREADS = 1 << 16
"""Operations that take as long as it takes to start and to wait for threads, some microseconds."""


@contextmanager
def shared(threads: int, extent: int) -> Iterator[tuple[Expr, Expr]]:
    """Each thread's part of ``range(extent)``, as start and stop; on one thread all of it and no loop."""
    if threads == 1:
        yield 0, extent
        return
    with T.parallel(0, threads) as part:
        yield bind(part * extent // threads), bind((part + 1) * extent // threads)


def workspace(shape: Sequence[int], dtype: str) -> Buffer:
    """A buffer that lives during the call, from the calling thread's pool."""
    return T.alloc_buffer(tuple(shape), dtype)


def registers(count: int, dtype: str) -> Buffer:
    """A buffer that LLVM keeps in registers.

    The annotation keeps it an alloca: TVM would take it from the workspace pool and store every update.
    """
    annotations = {"disable_lower_builtin": True}
    return T.alloc_buffer((count,), dtype, scope="local", annotations=annotations)


def ramp(start: Expr, lanes: int, stride: int = 1) -> Expr:
    """``lanes`` indices from ``start``; a plain index for one lane."""
    return start if lanes == 1 else tirx.Ramp(start, stride, lanes)


def load(buffer: Buffer, *index: Expr, lanes: int = 1, stride: int = 1) -> Expr:
    """``lanes`` values along the last axis, ``stride`` apart."""
    return tirx.BufferLoad(buffer, [*index[:-1], ramp(index[-1], lanes, stride)])


def prefetch(buffer: Buffer, *index: Expr) -> None:
    """Ask for the cache line of an element; beyond the buffer's end nothing happens."""
    address = tirx.address_of(tirx.BufferLoad(buffer, list(index)))
    reading, nearest, data = (tirx.const(each, "int32") for each in (0, 3, 1))
    T.evaluate(tirx.call_llvm_intrin("void", "llvm.prefetch", address, reading, nearest, data))


def store(buffer: Buffer, value: Expr, *index: Expr, lanes: int = 1, stride: int = 1) -> None:
    """Write ``lanes`` values along the last axis, ``stride`` apart."""
    T.buffer_store(buffer, value, [*index[:-1], ramp(index[-1], lanes, stride)])


def splat(value: Expr, lanes: int) -> Expr:
    """The same scalar in every lane."""
    return value if lanes == 1 else tirx.Broadcast(value, lanes)


def constant(value: float, dtype: str, lanes: int = 1) -> Expr:
    """A number in every lane."""
    return splat(tirx.const(value, dtype), lanes)


def cast(value: Expr, dtype: str, lanes: int = 1) -> Expr:
    """Convert every lane."""
    return tirx.Cast(vector(dtype, lanes), value)


def vector(dtype: str, lanes: int) -> str:
    """The type of so many values."""
    return dtype if lanes == 1 else f"{dtype}x{lanes}"


def as_float(count: Expr) -> Expr:
    """A count, known now or not, as float32."""
    return constant(count, "float32") if isinstance(count, int) else cast(count, "float32")


def reinterpret(value: Expr, dtype: str) -> Expr:
    """The same bits as another type."""
    return tirx.reinterpret(dtype, value)


def relu(value: Expr, dtype: str, lanes: int) -> Expr:
    """``max(value, 0)``."""
    return maximum(value, constant(0, dtype, lanes))


def to_uint8(value: Expr, lanes: int, lowest: Expr = None) -> Expr:
    """``clamp(round half to even(value), 0, 255)`` of floats; ``lowest`` is in the place of 0."""
    lowest = constant(0, "float32", lanes) if lowest is None else lowest
    clamped = maximum(minimum(value, constant(255, "float32", lanes)), lowest)
    # Beyond 2**23 floats are whole numbers: the addition rounds and leaves the integer in the lowest bits. A
    # rounding instruction is not everywhere, and without one LLVM calls libm for every element.
    bits = reinterpret(clamped + constant(1 << 23, "float32", lanes), vector("int32", lanes))
    return cast(bits, "uint8", lanes)


def to_int8(value: Expr, lanes: int) -> Expr:
    """uint8 less 128: the same bits but the highest."""
    flipped = tirx.bitwise_xor(value, constant(128, "uint8", lanes))
    return reinterpret(flipped, vector("int8", lanes))


def each_vector(extent: int, lanes: int, body: Callable[[Expr, int], None]) -> None:
    """Emit ``body(start, lanes)`` over ``range(extent)``: a loop of full vectors, then ever smaller ones."""
    full, rest = divmod(extent, lanes)
    if full:
        with serial(0, full) as index:
            body(index * lanes, lanes)
    while rest:
        tail = 1 << (rest.bit_length() - 1)
        body(constant(extent - rest, "int32"), tail)
        rest -= tail


def when(condition: Expr, then: Callable[[], None], otherwise: Callable[[], None]) -> None:
    """Emit one of two branches; only one where the condition is known now."""
    if isinstance(condition, bool):
        (then if condition else otherwise)()
        return
    with T.If(condition):
        with T.Then():
            then()
        with T.Else():
            otherwise()
