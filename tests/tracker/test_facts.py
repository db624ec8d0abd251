import pytest

from tracker.errors import TrackerError
from tracker.facts import describe
from tracker.levels import visible

RASPBERRY_PI = {
    "/proc/cpuinfo": (
        "processor\t: 0\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm crc32 cpuid\n"
        "CPU implementer\t: 0x41\nCPU part\t: 0xd08\n\nHardware\t: BCM2835\nRevision\t: c03112\n"
        "Model\t\t: Raspberry Pi 4 Model B Rev 1.2\n"
    ),
    "/proc/meminfo": "MemTotal:        3885396 kB\nMemFree:          123 kB\n",
    "/proc/self/status": "Name:\tx\nCpus_allowed:\td\nCpus_allowed_list:\t0,2-3\n",
    "/proc/self/stat": "4711 (python3) R 1 2 3",
    "/proc/sys/kernel/random/boot_id": "6e2f3a7f-c02c\n",
    "/sys/devices/system/cpu/present": "0-3\n",
    "/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1500000\n",
    "/sys/class/thermal/thermal_zone0/temp": "48312\n",
}


def test_a_raspberry_pi_is_read_from_its_files() -> None:
    pi = describe(lambda path: RASPBERRY_PI.get(path, ""), "aarch64", "blinknet")
    assert pi.cpu == "Raspberry Pi 4 Model B Rev 1.2"
    assert pi.features == ("fp", "asimd", "evtstrm", "crc32", "cpuid")
    assert (pi.cores, pi.timing_cores, pi.pid) == (4, (0, 2, 3), 4711)
    assert pi.memory_bytes == 3885396 * 1024
    assert pi.clock_hz == 1.5e9
    assert pi.temperature_c == pytest.approx(48.312)


def test_the_extensions_of_risc_v_are_its_features() -> None:
    lines = ("processor\t: 0", "isa\t\t: rv64imafdc_zicsr_zba", "mmu\t\t: sv39", "uarch\t\t: sifive,u74-mc")
    cpuinfo = "\n".join(lines)
    files = {**RASPBERRY_PI, "/proc/cpuinfo": cpuinfo}
    board = describe(lambda path: files.get(path, ""), "riscv64", "blinknet")
    assert board.cpu == "sifive,u74-mc"
    assert board.features == ("i", "m", "a", "f", "d", "c", "zicsr", "zba")


def test_what_a_machine_does_not_say_is_none() -> None:
    bare = {path: text for path, text in RASPBERRY_PI.items() if not path.startswith("/sys")}
    pi = describe(lambda path: bare.get(path, ""), "aarch64", "stock")
    assert (pi.clock_hz, pi.temperature_c, pi.cores) == (None, None, 3)


def test_a_machine_without_proc_is_refused() -> None:
    with pytest.raises(TrackerError, match="/proc"):
        describe(lambda _: "", "aarch64", "blinknet")


def test_levels_hide_what_came_after_them() -> None:
    features = (
        "sse4_2",
        "popcnt",
        "avx",
        "avx2",
        "fma",
        "f16c",
        "bmi1",
        "avx512f",
        "avx512_vnni",
        "avx_vnni",
        "amx_tile",
    )
    assert visible(features, "x86-64-v2") == ("sse4_2", "popcnt")
    assert visible(features, "x86-64-v3") == ("sse4_2", "popcnt", "avx", "avx2", "fma", "f16c", "bmi1")
    assert visible(features, "x86-64-v4") == features
    assert visible(features, None) == features
