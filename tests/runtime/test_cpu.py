import pytest

from runtime.cpu import cpu_features, missing_features


@pytest.mark.parametrize("line", ["flags\t\t: fpu avx2 fma", "Features\t: fpu avx2 fma"])
def test_features_come_from_the_first_core(tmp_path, line):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\n{line}\n\nprocessor\t: 1\nflags\t: other\n")
    assert cpu_features(cpuinfo) == {"fpu", "avx2", "fma"}
    assert missing_features(["fma", "sve", "avx2", "avx512f"], cpuinfo) == ("avx512f", "sve")


def test_the_extensions_of_risc_v_are_its_features(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nhart\t\t: 2\nisa\t\t: rv64imafdc_zicsr_zba\n")
    assert cpu_features(cpuinfo) == {"i", "m", "a", "f", "d", "c", "zicsr", "zba"}
    assert missing_features(["d", "v"], cpuinfo) == ("v",)


def test_a_machine_that_says_nothing_has_nothing(tmp_path):
    assert missing_features(["fma"], tmp_path / "nothing") == ("fma",)
    assert missing_features([], tmp_path / "nothing") == ()


def test_this_machine_says_something():
    assert cpu_features()
