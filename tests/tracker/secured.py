"""A fleet behind mutual TLS on an address of this machine that is not loopback."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.tracker.servers import state_of, wait_until
from tracker.access import COORDINATOR, TRACKER, Access, is_loopback
from tracker.address import Address
from tracker.authority import Authority
from tracker.device import DeviceKey
from tracker.errors import TrackerError
from tracker.inventory import registered

ROOT = Path(__file__).parents[2]


def own_host() -> str:
    """An address of this machine that others may reach; Linux takes the last one for itself as well."""
    every = [each for addresses in psutil.net_if_addrs().values() for each in addresses]
    found = [each.address for each in every if each.family == socket.AF_INET]
    return next((each for each in found if not is_loopback(each)), "0.0.0.0")  # noqa: S104


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


class SecuredFleet:
    """An authority in ``folder``, and a tracker that listens on this machine's own address."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority.establish(folder)
        for holder in (TRACKER, COORDINATOR):
            self.authority.issue(holder)
        self.host = own_host()
        self.port = free_port()

    @property
    def tracker(self) -> Address:
        """As the coordinator reaches it."""
        return self.reached_by(COORDINATOR)

    def reached_by(self, holder: str) -> Address:
        return Address(self.host, self.port, self.access(holder))

    def access(self, holder: str) -> Access:
        return Access(self.authority.folder / holder)

    @contextmanager
    def tracking(self) -> Iterator[None]:
        """The tracker's process, as its command starts it."""
        command = ["tracker", "--host", self.host, "--port", str(self.port)]
        with blinknet(*command, "--credential", str(self.authority.folder / TRACKER)):
            assert wait_until(self._answers)
            yield

    def _answers(self) -> bool:
        try:
            registered(self.tracker)
        except TrackerError:
            return False
        return True

    @contextmanager
    def device(self, key: DeviceKey) -> Iterator[subprocess.Popen[str]]:
        """An agent's process that is registered."""
        self.authority.issue(str(key))
        command = ["device", "--tracker", str(self.tracker), "--key", str(key), "--host", self.host]
        with blinknet(*command, "--credential", str(self.authority.folder / str(key))) as process:
            assert wait_until(lambda: state_of(self.tracker, key) == "free")
            yield process


@contextmanager
def blinknet(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command of ours; ended at the end. What it writes to stderr can be read."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cluster", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=20)
