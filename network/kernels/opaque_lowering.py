"""A small ONNX model as one function of loops, by TVM's ONNX frontend and its legalisation of operators.

Its loops are as naive as topi writes them; only copies (reshapes, transposes) are moved into what reads them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from network.errors import NetworkError
from network.variants import TensorSpec


@dataclass(frozen=True, slots=True, eq=False)
class Lowered:
    """A PrimFunc ``(*inputs, *constants, output)``, and what it takes."""

    function: Any
    constants: Mapping[str, NDArray[Any]]
    output: TensorSpec
    operations: int
    """How often it stores a value."""
    workspace_bytes: int


@cache
def lowered(model: bytes) -> Lowered:
    """The ONNX model as one function. Raises NetworkError where TVM cannot import or compile it."""
    try:
        return _lowered(model)
    except NetworkError:
        raise
    except Exception as error:  # The frontend and the passes raise whatever comes.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise NetworkError(f"TVM's ONNX frontend cannot import it ({reason.strip()})") from error


def _lowered(model: bytes) -> Lowered:
    import onnx
    from tvm import relax, tirx
    from tvm.relax.frontend.onnx import from_onnx

    module = from_onnx(onnx.load_model_from_string(model))
    module = relax.transform.LegalizeOps()(relax.transform.DecomposeOpsForInference()(module))
    fused, constants = _fused(module)
    function = _without_blocks(_without_copies(fused))
    if "call_packed" in function.script():
        raise NetworkError("TVM computes it with a function that devices need not have")
    written = function.params[-1]
    output = TensorSpec(tuple(int(each) for each in written.shape), str(written.dtype))
    found = list(_statements(function.body))
    operations = sum(times for each, times in found if isinstance(each, tirx.BufferStore))
    buffers = [each.buffer for each, _ in found if isinstance(each, tirx.AllocBuffer)]
    return Lowered(function, constants, output, operations, sum(map(_allocated_bytes, buffers)))


def _fused(module: Any) -> tuple[Any, dict[str, NDArray[Any]]]:
    """``main`` as one PrimFunc, with its constants as further arguments."""
    import tvm
    from tvm import relax, tirx

    lift = _lifting()
    main = module["main"]
    body = lift.visit_expr(main.body)
    names = [f"c{index}" for index in range(len(lift.found))]
    parameters = [*main.params, *(variable for _, variable in lift.found)]
    whole = relax.Function(parameters, body, main.ret_ty).with_attr("Primitive", True)
    others = {name: each for name, each in module.functions.items() if name.name_hint != "main"}
    builder = relax.BlockBuilder(tvm.IRModule(others))
    called = builder.add_func(whole, "whole")
    variables = [relax.Var(f"x{index}", each.ty) for index, each in enumerate(parameters)]
    with builder.function("main", variables):
        with builder.dataflow():
            result = builder.emit_output(relax.Call(called, variables))
        builder.emit_func_output(result)
    fused = relax.transform.FuseTIR()(builder.get())
    (function,) = (each for each in fused.functions.values() if isinstance(each, tirx.PrimFunc))
    arrays = [np.array(constant.value.numpy()) for constant, _ in lift.found]
    return function, dict(zip(names, arrays, strict=True))


def _lifting() -> Any:
    """A visitor that puts a variable in place of every tensor constant, which fused functions cannot have."""
    from tvm import relax
    from tvm.relax.expr_functor import PyExprMutator, mutator

    @mutator
    class Lift(PyExprMutator):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.found: list[tuple[Any, Any]] = []

        def visit_generic_const_(self, op: Any) -> Any:
            for constant, variable in self.found:
                if constant.same_as(op):
                    return variable
            self.found.append((op, relax.Var(f"c{len(self.found)}", op.ty)))
            return self.found[-1][1]

    return Lift()


def _without_copies(function: Any) -> Any:
    """With every block that only moves values computed where it is read."""
    import tvm
    from tvm import tirx

    schedule = tvm.s_tir.Schedule(tvm.IRModule({"main": function.with_attr("global_symbol", "main")}))
    for block in schedule.get_child_blocks(schedule.get_sblock("root")):
        body = schedule.get(block).body
        if isinstance(body, tirx.BufferStore) and isinstance(body.value, tvm.ir.expr.TensorLoad):
            try:
                schedule.compute_inline(block)
            except tvm.s_tir.ScheduleError:
                continue  # It writes the output, or only some of what it could.
    return schedule.mod["main"]


def _without_blocks(function: Any) -> Any:
    """As plain loops, which is all that ``network.lowering`` knows."""
    import tvm
    from tvm.s_tir import transform

    passes = tvm.ir.transform.Sequential(
        [
            transform.LowerInitBlock(),
            transform.PlanAndUpdateBufferAllocationLocation(),
            transform.ConvertBlocksToOpaque(),
            transform.CompactBufferAllocation(),
            transform.LowerMatchBuffer(),
            transform.LowerOpaqueBlock(),
        ]
    )
    return passes(tvm.IRModule({"main": function}))["main"]


def _statements(statement: Any, repeats: int = 1) -> Iterator[tuple[Any, int]]:
    """Every statement, and how often it is carried out; of a branch the first side."""
    from tvm import tirx

    yield statement, repeats
    if isinstance(statement, tirx.For):
        repeats *= int(statement.extent)
    inner = getattr(statement, "seq", None) or [
        getattr(statement, name) for name in ("body", "then_case") if hasattr(statement, name)
    ]
    for each in inner:
        yield from _statements(each, repeats)


def _allocated_bytes(buffer: Any) -> int:
    return prod(int(extent) for extent in buffer.shape) * np.dtype(str(buffer.dtype)).itemsize
