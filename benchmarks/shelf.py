"""A shelf of boards that can be mistreated: real agents, each with a network, a disk and files of its own.

A board's network is a namespace behind a bridge, its disk a small tmpfs; that takes root and Linux's ``ip``.
Without them (``Shelf.privileged`` is false) boards stand on loopback, and faults of network and disk are
not to be had.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import mkdtemp
from types import TracebackType

import psutil

from tracker.access import PLAINTEXT_VARIABLE
from tracker.address import Address
from tracker.child import ChildProcess
from tracker.device import DeviceKey
from tracker.inventory import registered
from tracker.tracker import TrackerProcess

DISK_BYTES = 64 << 20
START_S = 60.0


class Board:
    """One device. Faults are methods; what undoes a fault stands beside it."""

    def __init__(
        self, shelf: Shelf, key: DeviceKey, host: str, network: str | None, options: Sequence[str]
    ) -> None:
        self.key = key
        self.host = host
        self._shelf = shelf
        self._network = network
        self._options = options
        self._agent: ChildProcess | None = None
        self.disk = Path(mkdtemp(prefix="blinknet-board-"))
        if network:
            _command("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(self.disk))

    @property
    def up(self) -> bool:
        """Whether its agent runs."""
        return self._agent is not None and self._agent.exit_code() is None

    @property
    def pid(self) -> int:
        """Of its agent."""
        if self._agent is None:
            raise RuntimeError(f"{self.key} was never started")
        return self._agent.pid

    @property
    def address(self) -> Address | None:
        """Where it is registered."""
        found = registered(self._shelf.tracker)
        return next((each.address for each in found if each.key == str(self.key)), None)

    def start(self) -> None:
        """Power on; registered or not, it runs from here on."""
        arguments = ["--tracker", str(self._shelf.tracker), "--key", str(self.key), "--host", self.host]
        arguments += ["--allow-plaintext"] if self._network else []
        prefix = ["ip", "netns", "exec", self._network] if self._network else []
        environment = {"TMPDIR": str(self.disk)}
        self._agent = ChildProcess(
            "tracker.agent", [*arguments, *self._options], environment=environment, prefix=prefix
        )

    def wait(self) -> None:
        """Until it is registered and free."""
        until = time.monotonic() + START_S
        while not self._free():
            if time.monotonic() > until or not self.up:
                raise TimeoutError(f"{self.key} does not come up: {self._agent and self._agent.log_tail()}")
            time.sleep(0.05)

    def session(self) -> int | None:
        """The process of the session that it serves, if any."""
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.pid).children()
            return children[0].pid if children else None
        return None

    def uploads_since(self, at_s: float) -> bool:
        """Whether a client has sent a file, or begun to, since that moment."""
        with contextlib.suppress(FileNotFoundError):
            return any(each.is_file() and each.stat().st_ctime >= at_s for each in self._uploads())
        return False

    def kill_session(self, number: signal.Signals = signal.SIGKILL) -> bool:
        """Whether there was one to kill."""
        session = self.session()
        with contextlib.suppress(ProcessLookupError):
            if session is not None:
                os.kill(session, number)
                return True
        return False

    def kill(self) -> None:
        """The agent dies, and its session with it; files stay."""
        if self._agent is not None:
            self._agent.kill()

    def wipe(self) -> None:
        """The agent dies and all its files are gone, as on a board that boots from scratch."""
        self.kill()
        for path in self.disk.iterdir():
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()

    def freeze(self) -> None:
        """Every process of it stops."""
        for pid in self._processes():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """They go on."""
        for pid in self._processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def cut(self) -> None:
        """Pull its network cable."""
        _command("ip", "link", "set", self._cable, "down")

    def heal(self) -> None:
        """Put it in again."""
        _command("ip", "link", "set", self._cable, "up")

    def slow_down(self, rate: str = "1mbit") -> None:
        """Its link carries no more than that, in either direction; a queue of 20 ms."""
        shape = ("root", "tbf", "rate", rate, "burst", "4kb", "latency", "20ms")
        _command("tc", "qdisc", "replace", "dev", self._cable, *shape)
        _command("ip", "netns", "exec", str(self._network), "tc", "qdisc", "replace", "dev", "eth0", *shape)

    def speed_up(self) -> None:
        """Its link is as fast as before."""
        _command("tc", "qdisc", "del", "dev", self._cable, "root")
        _command("ip", "netns", "exec", str(self._network), "tc", "qdisc", "del", "dev", "eth0", "root")

    def fill_disk(self) -> None:
        """Not a byte is left."""
        with contextlib.suppress(OSError), (self.disk / "ballast").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 20))

    def empty_disk(self) -> None:
        """What filled it is gone."""
        (self.disk / "ballast").unlink(missing_ok=True)

    def starve_session(self) -> bool:
        """The session gets no more memory than it has; whether there was one."""
        session = self.session()
        if session is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            psutil.Process(session).rlimit(psutil.RLIMIT_DATA, (1 << 20, 1 << 20))
        return True

    def remove(self) -> None:
        """Off the shelf; leaves nothing."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self.thaw()
        self.kill()
        if self._network:
            _command("umount", "--lazy", str(self.disk))
        shutil.rmtree(self.disk, ignore_errors=True)

    def _uploads(self) -> Iterator[Path]:
        return self.disk.glob("blinknet-session-*/*")

    def _free(self) -> bool:
        found = registered(self._shelf.tracker)
        return any(each.key == str(self.key) and each.state == "free" for each in found)

    @property
    def _cable(self) -> str:
        return f"{self._network}-c"

    def _processes(self) -> list[int]:
        agent = psutil.Process(self.pid)
        return [self.pid, *(each.pid for each in agent.children(recursive=True))]


class Shelf:
    """A tracker and boards; a context manager that leaves neither processes nor networks nor mounts."""

    def __init__(self, privileged: bool | None = None) -> None:
        self.privileged = can_make_networks() if privileged is None else privileged
        self.boards: dict[DeviceKey, Board] = {}
        self._name = f"bn{os.getpid()}"
        self._subnet = f"10.213.{os.getpid() % 250}"
        self._networks: list[str] = []
        self._tracker: TrackerProcess | None = None

    def __enter__(self) -> Shelf:
        if self.privileged:
            # Its networks lead nowhere else. What runs against them inherits it.
            os.environ[PLAINTEXT_VARIABLE] = "1"
            _command("ip", "link", "add", self._name, "type", "bridge")
            _command("ip", "addr", "add", f"{self._subnet}.254/24", "dev", self._name)
            _command("ip", "link", "set", self._name, "up")
        self.start_tracker()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.environ.pop(PLAINTEXT_VARIABLE, None)
        for board in self.boards.values():
            board.remove()
        self.kill_tracker()
        for network in self._networks:
            _command("ip", "netns", "del", network)
        if self.privileged:
            _command("ip", "link", "del", self._name)

    @property
    def tracker(self) -> Address:
        """Where the tracker is, dead or alive."""
        if self._tracker is None:
            raise RuntimeError("the shelf has no tracker yet; enter it first")
        return self._tracker.address

    def start_tracker(self) -> None:
        """On the same port as the one before."""
        host = f"{self._subnet}.254" if self.privileged else "127.0.0.1"
        port = self._tracker.address.port if self._tracker else None
        self._tracker = TrackerProcess.start(host, port, allow_plaintext=self.privileged)

    def kill_tracker(self) -> None:
        """At once."""
        if self._tracker is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._tracker.pid, signal.SIGKILL)
            self._tracker.stop()

    def add(self, key: DeviceKey, *options: str) -> Board:
        """A board with an agent that is started with these options."""
        number = len(self.boards) + 1
        network = self._make_network(number) if self.privileged else None
        host = f"{self._subnet}.{number}" if network else "127.0.0.1"
        board = self.boards[key] = Board(self, key, host, network, options)
        board.start()
        return board

    def _make_network(self, number: int) -> str:
        name = f"{self._name}-{number}"
        _command("ip", "netns", "add", name)
        self._networks.append(name)
        _command("ip", "link", "add", f"{name}-c", "type", "veth", "peer", "name", "eth0", "netns", name)
        _command("ip", "link", "set", f"{name}-c", "master", self._name, "up")
        _command("ip", "-n", name, "addr", "add", f"{self._subnet}.{number}/24", "dev", "eth0")
        for device in ("eth0", "lo"):
            _command("ip", "-n", name, "link", "set", device, "up")
        return name


def can_make_networks() -> bool:
    """Whether this process may make network namespaces, bridges and mounts."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "tc", "mount"))):
        return False
    name = f"bn{os.getpid()}-try"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode == 0
    if made:
        _command("ip", "netns", "del", name)
    return made


@contextlib.contextmanager
def shelf_of(*keys: DeviceKey, options: tuple[str, ...] = ()) -> Iterator[Shelf]:
    """A shelf with these boards, all registered."""
    with Shelf() as shelf:
        for key in keys:
            shelf.add(key, *options)
        for board in shelf.boards.values():
            board.wait()
        yield shelf


def _command(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(words)} failed: {done.stderr.strip()}")
