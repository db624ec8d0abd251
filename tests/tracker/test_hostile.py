"""What a device says is data: a real one that lies costs a session, and nothing else."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.tracker.models import MATMUL, Model
from tests.tracker.secured import ROOT, SecuredFleet
from tests.tracker.servers import state_of, wait_until
from tracker.address import Address
from tracker.device import DeviceKey
from tracker.failure import Failure, SessionFailed
from tracker.session import Session

KEY = DeviceKey("lab", "hostile")


@contextmanager
def hostile(tracker: Address, how: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    command = [
        sys.executable,
        "-m",
        "tests.tracker.hostile",
        how,
        "--tracker",
        str(tracker),
        "--key",
        str(KEY),
    ]
    command += options
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert wait_until(lambda: state_of(tracker, KEY) == "free")
        yield process
    finally:
        process.terminate()
        process.wait(20)


def test_a_library_that_arrives_damaged_is_never_loaded(tracker: Address, kernels: Path) -> None:
    with hostile(tracker, "truncates uploads"), Session.open(tracker, KEY) as session:
        first, second = session.time_functions(kernels, [MATMUL, MATMUL])
    assert isinstance(first, Failure)
    assert isinstance(second, Failure)
    assert (first.kind, second.kind) == ("garbled", "skipped")
    assert "arrived damaged: a full disk on the device" in first.message


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("times are NaN", "a time of NaN s"),
        ("times are negative", "a time of -0.001 s"),
        ("times are zero", "a time of 0 s"),
        ("times are infinite", "a time of inf s"),
        ("times are too few", "0 times instead of 1"),
        ("times are too many", "100000 times instead of 1"),
    ],
)
def test_times_that_cannot_be_are_no_measurement(
    tracker: Address, kernels: Path, model: Model, how: str, words: str
) -> None:
    with hostile(tracker, how):
        with Session.open(tracker, KEY) as session:
            first, second = session.time_functions(kernels, [MATMUL, MATMUL])
        assert isinstance(first, Failure)
        assert isinstance(second, Failure)
        assert (first.kind, second.kind) == ("garbled", "skipped")
        assert words in first.message
        with Session.open(tracker, KEY) as session:
            session.load_network("net", model.library, model.parameters, [(100,)], [(10,)])
            with pytest.raises(SessionFailed) as raised:
                session.time_networks(["net"], rounds=1, repeats=2)
        assert raised.value.failure.kind == "garbled"


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("describes itself at length", "a text of 67108864 characters"),
        ("describes itself in numbers", "description cannot be read"),
        ("describes an infinite clock", "description cannot be read"),
    ],
)
def test_a_description_that_makes_no_sense_is_not_believed(tracker: Address, how: str, words: str) -> None:
    with (
        hostile(tracker, how),
        Session.open(tracker, KEY) as session,
        pytest.raises(SessionFailed) as raised,
    ):
        session.describe()
    assert raised.value.failure.kind in ("garbled", "refused")
    assert words in raised.value.failure.message
    assert len(raised.value.failure.message) < 5000


@pytest.mark.parametrize("how", ["has no memory to speak of", "has less than no memory"])
def test_memory_that_cannot_be_is_no_measurement(tracker: Address, model: Model, how: str) -> None:
    with (
        hostile(tracker, how),
        Session.open(tracker, KEY) as session,
        pytest.raises(SessionFailed) as raised,
    ):
        session.measure_peak(model.library, model.parameters, [(100,)], [(10,)])
    assert raised.value.failure.kind in ("garbled", "refused")


@pytest.mark.parametrize("how", ["answers without end", "answers in garbage", "gives orders"])
def test_who_does_not_speak_the_protocol_costs_a_session(tmp_path: Path, how: str) -> None:
    """Behind a gate: only there are packets looked at, see docs/security.md.

    TVM's client would answer an order to make itself a server, and then calls.
    """
    fleet = SecuredFleet(tmp_path / "fleet")
    fleet.authority.issue(str(KEY))
    options = ["--host", fleet.host, "--credential", str(fleet.authority.folder / str(KEY))]
    with fleet.tracking(), hostile(fleet.tracker, how, *options) as device:
        with pytest.raises(SessionFailed) as raised:
            Session.open(fleet.tracker, KEY, deadline_s=2.0)
        assert raised.value.failure.kind == "unreachable"
        assert wait_until(lambda: state_of(fleet.tracker, KEY) == "free")
    assert device.stdout is not None
    assert "obeyed" not in device.stdout.read()
