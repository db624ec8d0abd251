from dataclasses import replace

import pytest

from network.errors import NetworkError
from network.isas import known, select
from network.target import Target, host_features, triple

CORTEX_A72 = ("fp", "asimd", "evtstrm", "aes", "pmull", "sha1", "sha2", "crc32", "cpuid")
CORTEX_A76 = [*CORTEX_A72, "atomics", "fphp", "asimdhp", "asimdrdm", "lrcpc", "dcpop", "asimddp"]
CORTEX_A7 = (
    "half",
    "thumb",
    "fastmult",
    "vfp",
    "edsp",
    "neon",
    "vfpv3",
    "tls",
    "vfpv4",
    "idiva",
    "idivt",
    "vfpd32",
)


@pytest.mark.parametrize(
    ("architecture", "features", "name"),
    [
        ("aarch64", CORTEX_A72, "aarch64"),
        ("aarch64", CORTEX_A76, "aarch64_dotprod"),
        ("aarch64", [*CORTEX_A76, "i8mm"], "aarch64_i8mm"),
        ("armv7l", CORTEX_A7, "armv7l"),
        ("armv8l", CORTEX_A7, "armv7l"),
        ("riscv64", list("imafdc"), "riscv64"),
    ],
)
def test_a_device_gets_its_best_instruction_set(architecture, features, name):
    target = Target.for_features(architecture, features)
    assert target.isa.name == name
    assert target.missing(architecture, features) == ()


@pytest.mark.parametrize("isa", known(), ids=lambda isa: isa.name)
def test_no_other_architecture_is_taken_for_it(isa):
    others = {each.architecture for each in known()} - {isa.architecture}
    target = Target(triple(isa.architecture), isa.mcpu, isa.mattr)
    assert target.isa == isa
    for other in others:
        assert target.missing(other, isa.requires) == (isa.architecture,)
        assert not isa.fits(other, isa.requires)


def test_an_emulated_device_shares_no_measurement_with_a_real_one():
    real = Target.for_features("aarch64", CORTEX_A76)
    emulated = replace(real, emulated=True)
    assert emulated.key != real.key
    assert emulated.isa == real.isa
    assert real.missing("aarch64", CORTEX_A76, emulated=True) == ("a real processor",)
    assert emulated.missing("aarch64", CORTEX_A76) == ("an emulated processor",)
    assert emulated.missing("aarch64", CORTEX_A76, emulated=True) == ()


def test_what_a_device_lacks_is_named():
    target = Target.for_features("aarch64", CORTEX_A76)
    assert target.missing("aarch64", CORTEX_A72) == ("asimddp",)


def test_an_unknown_architecture_is_named_with_those_that_are_known():
    with pytest.raises(NetworkError, match=r"mips64, only for aarch64, armv7l, riscv64, x86_64; add a file"):
        select("mips64", {"msa"})


def test_a_processor_below_the_least_is_told_what_it_lacks():
    with pytest.raises(NetworkError, match=r"the armv7l processor: armv7l is the least .* lacks vfpv4; add"):
        Target.for_features("armv7l", ["neon", "vfpv3"])


def test_a_target_of_another_architecture_has_no_instruction_set():
    with pytest.raises(NetworkError, match=r"known for aarch64 are .*dotprod"):
        _ = Target("aarch64-linux-gnu", "x86-64-v3", ()).isa
    with pytest.raises(NetworkError, match="known for mips64 are none"):
        _ = Target("mips64-linux-gnu", "generic", ()).isa


def test_32_bit_arm_passes_floats_in_registers():
    target = Target.for_features("armv7l", CORTEX_A7)
    assert target.mtriple == "armv7l-linux-gnueabihf"
    assert target.to_tvm().attrs["mfloat-abi"] == "hard"


@pytest.mark.parametrize(
    ("line", "features"),
    [
        ("flags\t\t: fpu avx2", {"fpu", "avx2"}),
        ("Features\t: fp asimd", {"fp", "asimd"}),
        ("isa\t\t: rv64imafdc_zicsr_zba", {"i", "m", "a", "f", "d", "c", "zicsr", "zba"}),
    ],
)
def test_features_are_read_as_each_architecture_lists_them(tmp_path, line, features):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nhart\t\t: 0\n{line}\nmmu\t\t: sv39\n")
    assert host_features(cpuinfo) == features
