"""How kernels become machine code: TVM's own passes, but only those that explicit loops need.

TVM's default pipeline takes twice as long, for blocks and schedules that these kernels do not have, and its
StorageRewrite takes accumulators out of the allocas that LLVM turns into registers: half the speed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from network.target import Target


def compiled(functions: Mapping[str, Any], target: Target) -> Any:
    """The ``tvm.runtime.Executable`` of PrimFuncs by name."""
    import tvm

    with unchecked():
        module = tvm.IRModule(dict(functions))
        return tvm.compile(module, target=target.to_tvm(), tir_pipeline=pipeline())


def unchecked() -> Any:
    """The context of every compilation: kernels do not check their arguments.

    Callers take shapes and types from ``Kernel.arguments``; checking them again in every kernel is a third of
    its compile time and of its code.
    """
    import tvm

    return tvm.transform.PassContext(opt_level=3, config={"tirx.disable_assert": True})


@cache
def pipeline() -> str:
    """The name under which TVM knows the passes."""
    from tvm.tirx import compilation_pipeline

    name = "blinknet"
    compilation_pipeline.register_tir_pipeline(name, _pipeline)
    return name


def _pipeline() -> tuple[Any, Any, Any]:
    """TVM's triple: the passes, and how the host's and a device's part are finished."""
    from tvm import ir, tirx
    from tvm.tirx import compilation_pipeline

    passes = ir.transform.Sequential(
        [
            tirx.transform.FlattenBuffer(),
            tirx.transform.StmtSimplify(),
            tirx.transform.AnnotateEntryFunc(),
            tirx.transform.SplitHostDevice(),
            tirx.transform.MakePackedAPI(),
        ]
    )
    return passes, compilation_pipeline.finalize_host_passes, compilation_pipeline.finalize_device_passes
