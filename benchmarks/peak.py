"""The rate at which a core multiplies and adds when nothing else holds it up."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tvm

from benchmarks.interleave import Block
from network.isa import Isa
from network.kernels import emit
from network.link import linker
from network.lowering import compiled
from network.target import Target
from network.variants import TensorSpec

STEPS = 20_000
CHAINS = 10
"""Independent accumulators: more than latency times ports of any processor we know."""


def peak_block(target: Target, folder: Path) -> tuple[Block, float]:
    """Seconds of a kernel that only multiplies and adds float32 in registers, and how often it does."""
    isa = target.isa
    specs = (TensorSpec((2, isa.lanes), "float32"), TensorSpec((CHAINS, isa.lanes), "float32"))
    function = emit.function(("x", "y"), specs, partial(_body, isa)).with_attr("global_symbol", "peak")
    path = folder / "peak.so"
    compiled({"peak": function}, target).export_library(str(path), fcompile=linker(target.mtriple))
    library = tvm.runtime.load_module(str(path))
    # A factor below 1: sums that grow beyond all bounds are slower on some processors.
    x = tvm.runtime.tensor(np.repeat(np.array([[0.999], [0.001]], np.float32), isa.lanes, axis=1))
    y = tvm.runtime.empty(specs[1].shape, "float32")

    def seconds(runs: int) -> float:
        return float(library.time_evaluator("peak", tvm.cpu(0), number=runs)(x, y).mean)

    return seconds, float(STEPS * CHAINS * isa.lanes)


def _body(isa: Isa, *, x: Any, y: Any) -> None:
    lanes = isa.lanes
    sums = emit.registers(CHAINS * lanes, "float32")
    factor, term = (emit.bind(emit.load(x, row, 0, lanes=lanes)) for row in range(2))
    for chain in range(CHAINS):
        emit.store(sums, term, chain * lanes, lanes=lanes)
    with emit.serial(0, STEPS):
        for chain in range(CHAINS):
            held = emit.load(sums, chain * lanes, lanes=lanes)
            emit.store(sums, held * factor + term, chain * lanes, lanes=lanes)
    for chain in range(CHAINS):
        emit.store(y, emit.load(sums, chain * lanes, lanes=lanes), chain, 0, lanes=lanes)
