"""A memory limit with real networks on real servers: who keeps it lives, who does not is ended, alone."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tracker.models import Model, build_model
from tests.tracker.servers import Kind, state_of, wait_until
from tracker.address import Address
from tracker.device import Description, DeviceKey
from tracker.errors import TrackerError
from tracker.failure import SessionFailed
from tracker.memory_limit import Footprint, data_bytes
from tracker.session import Session

PAGE = 4096
RUNS = 3


@pytest.fixture(scope="module")
def hungry(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """4 MiB of weights, and a kernel that wants as much again while it runs."""
    path = tmp_path_factory.mktemp("hungry") / "hungry.so"
    return build_model(path, (1024, 1024), True, kind.architecture)


def run_within(tracker: Address, device: DeviceKey, model: Model, limit_bytes: int) -> Footprint:
    with Session.open(tracker, device) as session:
        return session.run_within(
            model.library, model.parameters, [model.input_shape], [model.output_shape], limit_bytes, RUNS
        )


def peak(tracker: Address, device: DeviceKey, model: Model) -> int:
    with Session.open(tracker, device) as session:
        return session.measure_peak(
            model.library, model.parameters, [model.input_shape], [model.output_shape]
        )


def test_a_network_that_fits_runs_and_its_peak_is_the_same(
    tracker: Address, device: DeviceKey, hungry: Model, kind: Kind
) -> None:
    alone = peak(tracker, device, hungry)
    footprint = run_within(tracker, device, hungry, alone)
    assert footprint.enforced is not bool(kind.cpu)
    assert footprint.peak_bytes == pytest.approx(alone, abs=32 * PAGE)


def test_a_network_whose_workspace_is_too_large_is_ended_and_the_device_lives_on(
    tracker: Address, device: DeviceKey, hungry: Model, kind: Kind
) -> None:
    if kind.cpu:
        pytest.skip("under emulation no limit can be enforced, and the device says so")
    limit = peak(tracker, device, hungry) - hungry.parameter_bytes // 2
    assert limit > hungry.parameter_bytes + hungry.library.stat().st_size
    with pytest.raises(SessionFailed) as ended:
        run_within(tracker, device, hungry, limit)
    assert ended.value.failure.kind in ("refused", "crash")
    assert wait_until(lambda: state_of(tracker, device) == "free")
    assert run_within(tracker, device, hungry, 4 * limit).enforced


def test_a_network_whose_parameters_alone_are_too_large_is_refused(
    tracker: Address, device: DeviceKey, hungry: Model
) -> None:
    with pytest.raises(SessionFailed, match="parameters and library take") as ended:
        run_within(tracker, device, hungry, hungry.parameter_bytes // 2)
    assert ended.value.failure.kind == "refused"
    with Session.open(tracker, device) as session:
        assert isinstance(session.describe(), Description)


def test_a_used_session_cannot_be_limited(tracker: Address, agent: DeviceKey, model: Model) -> None:
    arguments = (model.library, model.parameters, [model.input_shape], [model.output_shape])
    with Session.open(tracker, agent) as session:
        session.measure_peak(*arguments)
        with pytest.raises(TrackerError, match="fresh session"):
            session.run_within(*arguments, 1 << 30, RUNS)


LIMITED = """
from tracker.memory_limit import limit_memory
assert limit_memory(8 << 20)
kept = bytearray(4 << 20)
try:
    bytearray(16 << 20)
except MemoryError:
    print("refused")
assert limit_memory(64 << 20)
bytearray(16 << 20)
print("replaced")
"""


def test_a_process_gets_so_much_more_and_another_limit_replaces_the_first() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["refused", "replaced"]


def test_a_status_without_the_figure_is_no_data() -> None:
    assert data_bytes("Name:\tqemu\nVmData:\t     360 kB\n") == 360 * 1024
    assert data_bytes("Name:\tqemu\n") == 0
