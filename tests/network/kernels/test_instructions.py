"""That the kernels use the instructions that an instruction set is for, and none beyond it."""

import re

import numpy as np
import pytest

from network.isas import known
from network.kernels.conv2d import Conv2d
from network.lowering import compiled
from network.target import Target, triple
from tests.network.kernels.emulated import PROCESSORS, Emulator, Processor

FLOAT = Conv2d((8, 8, 16), 64, (3, 3), (1, 1), (0, 0, 0, 0), "float32", "float32", True)
INTEGER = Conv2d((8, 8, 16), 64, (3, 3), (1, 1), (0, 0, 0, 0), "uint8", "uint8", False)
MULTIPLY_ADD = {
    "x86_64_v2": (r"\tmulps\t", r"\tpmaddwd\t"),
    "x86_64_v3": (r"\tvfmadd\w+ps\t.*%ymm", r"\tvpmaddwd\t.*%ymm"),
    "x86_64_v3_vnni": (r"\tvfmadd\w+ps\t.*%ymm", r"\{vex\}\s+vpdpbusd\t.*%ymm"),
    "x86_64_v4": (r"\tvfmadd\w+ps\t.*%zmm", r"\tvpmaddwd\t.*%zmm"),
    "x86_64_v4_vnni": (r"\tvfmadd\w+ps\t.*%zmm", r"\tvpdpbusd\t.*%zmm"),
    "aarch64": (r"\tfmla\tv\d+\.4s", r"\tsmlal2?\tv\d+\.8h"),
    "aarch64_dotprod": (r"\tfmla\tv\d+\.4s", r"\tsdot\tv\d+\.4s"),
    "aarch64_i8mm": (r"\tfmla\tv\d+\.4s", r"\tusdot\tv\d+\.4s"),
    "armv7l": (r"\tvfma\.f32\tq", r"\tvmlal\.s8\tq"),
    "riscv64": (r"\tfmadd\.s\t", r"\tmul\t"),
}


def inner_loops(kernel, isa):
    """The assembly of the loops that no other loop is in."""
    function = kernel.prim_func(isa, kernel.tiles(isa)[0]).with_attr("global_symbol", "kernel")
    target = Target(triple(isa.architecture), isa.mcpu, isa.mattr)
    assembly = compiled({"kernel": function}, target).mod.inspect_source("asm")
    blocks = r"^(\.LBB\w+):(.*?)(?=^\.LBB\w+:|\Z)"
    found = re.findall(blocks, assembly, re.DOTALL | re.MULTILINE)
    loops = (
        re.match(rf".*^\t[a-z.]+\t[^\n]*{re.escape(label)}\b", body, re.DOTALL | re.MULTILINE)
        for label, body in found
    )
    return [loop.group() for loop in loops if loop]


@pytest.mark.parametrize("isa", known(), ids=lambda isa: isa.name)
@pytest.mark.parametrize("kernel", [FLOAT, INTEGER], ids=["float", "integer"])
def test_the_inner_loop_multiplies_and_adds_in_registers(kernel, isa):
    """A spilled accumulator would be read from the stack in every step."""
    instruction = MULTIPLY_ADD[isa.name][kernel.integer]
    loops = [body for body in inner_loops(kernel, isa) if re.search(instruction, body)]
    assert loops
    for body in loops:
        assert not re.search(r"\(%rsp\)|\[sp\b|\(sp\)", body)


def test_a_processor_without_the_instruction_set_refuses_it(tmp_path):
    """What makes the other tests mean something: the emulated processors have nothing beyond theirs."""
    older, newer = PROCESSORS[:2]
    if older.missing:
        pytest.skip(f"{', '.join(older.missing)} not found: run scripts/install-system-packages")
    mixed = Processor(newer.name, older.qemu, older.cpu, older.gnu)
    parameters = {name: np.zeros(spec.shape, spec.dtype) for name, spec in INTEGER.parameters().items()}
    with Emulator(mixed, tmp_path) as emulator, pytest.raises(RuntimeError, match="ended with -4"):
        emulator.compute(INTEGER, np.zeros(INTEGER.input_shape, "u1"), parameters)
