"""What a device says is data: a real one that lies costs a session, and nothing else."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.tracker.models import MATMUL
from tests.tracker.secured import ROOT
from tests.tracker.servers import state_of, wait_until
from tracker.address import Address
from tracker.device import DeviceKey
from tracker.failure import Failure
from tracker.session import Session

KEY = DeviceKey("lab", "hostile")


@contextmanager
def hostile(tracker: Address, how: str) -> Iterator[None]:
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
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        assert wait_until(lambda: state_of(tracker, KEY) == "free")
        yield
    finally:
        process.terminate()
        process.wait(20)


def test_a_library_that_arrives_damaged_is_never_loaded(tracker: Address, kernels: Path) -> None:
    with hostile(tracker, "truncates uploads"), Session.open(tracker, KEY) as session:
        first, second = session.time_functions(kernels, [MATMUL, MATMUL])
    assert isinstance(first, Failure)
    assert (first.kind, second.kind) == ("garbled", "skipped")
    assert "arrived damaged: a full disk on the device" in first.message
