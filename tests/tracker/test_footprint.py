from pathlib import Path

import pytest

from tests.tracker.models import Model, build_model
from tests.tracker.servers import Kind
from tracker.address import Address
from tracker.device import DeviceKey
from tracker.errors import TrackerError
from tracker.footprint import owned_bytes
from tracker.session import Session

PAGE = 4096

SMAPS = """\
55d0c8a00000-55d0c8a21000 rw-p 00000000 00:00 0                          [heap]
Size:                132 kB
Rss:                 100 kB
Anonymous:           100 kB
VmFlags: rd wr mr mw me ac
7f10a0000000-7f10a0010000 r-xp 00001000 fe:01 77                         /tmp/folder/0-net.so
Rss:                  64 kB
Anonymous:             0 kB
7f10a0010000-7f10a0011000 rw-p 00011000 fe:01 77                         /tmp/folder/0-net.so
Rss:                   8 kB
Anonymous:             4 kB
7f10b0000000-7f10b0100000 r-xp 00000000 fe:01 78                         /usr/lib/libtvm_runtime.so
Rss:                1024 kB
Anonymous:             0 kB
7f10c0000000-7f10c0100000 rw-p 00000000 00:00 0
Rss:                  16 kB
Anonymous:            16 kB
"""


def measure(tracker: Address, device: DeviceKey, model: Model) -> int:
    with Session.open(tracker, device) as session:
        return session.measure_peak(
            model.library, model.parameters, [model.input_shape], [model.output_shape]
        )


def test_own_memory_and_the_librarys_pages_count() -> None:
    assert owned_bytes(SMAPS, ["0-net.so"]) == (100 + 64 + 8 + 16) * 1024
    assert owned_bytes(SMAPS, []) == (100 + 4 + 16) * 1024


def test_the_peak_is_what_the_network_needs(tracker: Address, device: DeviceKey, model: Model) -> None:
    needed = model.parameter_bytes + model.library.stat().st_size
    assert measure(tracker, device, model) == pytest.approx(needed, abs=16 * PAGE)


def test_the_peak_is_the_same_every_time(tracker: Address, agent: DeviceKey, model: Model) -> None:
    peaks = [measure(tracker, agent, model) for _ in range(4)]
    assert max(peaks) - min(peaks) <= 2 * PAGE


def test_a_larger_network_needs_so_much_more(
    tracker: Address, device: DeviceKey, model: Model, tmp_path: Path, kind: Kind
) -> None:
    larger = build_model(tmp_path / "larger.so", (100, 3000, 1000, 10), architecture=kind.architecture)
    more = larger.parameter_bytes - model.parameter_bytes
    assert measure(tracker, device, larger) - measure(tracker, device, model) == pytest.approx(
        more, abs=16 * PAGE
    )


def test_a_kernels_own_buffers_count(tracker: Address, agent: DeviceKey, tmp_path: Path, kind: Kind) -> None:
    model = build_model(tmp_path / "workspace.so", (1024, 1024), True, kind.architecture)
    needed = model.parameter_bytes + model.library.stat().st_size + 4 * 1024 * 1024
    assert measure(tracker, agent, model) == pytest.approx(needed, abs=16 * PAGE)


def test_a_used_session_cannot_measure(tracker: Address, agent: DeviceKey, model: Model) -> None:
    with Session.open(tracker, agent) as session:
        session.load_network(
            "net", model.library, model.parameters, [model.input_shape], [model.output_shape]
        )
        with pytest.raises(TrackerError, match="fresh session"):
            session.measure_peak(model.library, model.parameters, [model.input_shape], [model.output_shape])
