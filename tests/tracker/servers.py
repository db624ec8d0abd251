"""Real servers for the tests, and ways to look at them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass

import psutil

from tracker.address import Address
from tracker.agent import AgentProcess
from tracker.child import ChildProcess
from tracker.cpus import CPUS
from tracker.device import DeviceKey
from tracker.edge_build import agent_command
from tracker.emulation import emulated_command
from tracker.inventory import registered


def wait_until(holds: Callable[[], object], timeout_s: float = 30.0) -> bool:
    until = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def state_of(tracker: Address, key: DeviceKey) -> str:
    """ "free", "busy", or "gone"."""
    return next((each.state for each in registered(tracker) if each.key == str(key)), "gone")


@dataclass(frozen=True)
class Kind:
    """A way to run a device."""

    name: str
    cpu: str = ""
    """That qemu emulates, of an emulated one."""

    @property
    def architecture(self) -> str:
        return CPUS[self.cpu] if self.cpu else os.uname().machine

    @property
    def ours(self) -> bool:
        return self.name != "stock"

    def command(self, tracker: Address, key: str, *options: str) -> list[str]:
        """Starts one of our agents."""
        device = DeviceKey("lab", "replaced")
        if self.cpu:
            words = emulated_command(tracker, device, self.cpu)
        elif self.name == "edge":
            words = agent_command(self.architecture, tracker, device, "127.0.0.1")
        else:
            words = [sys.executable, "-m", "tracker.agent", "--tracker", str(tracker), "--key", str(device)]
        return [*(key if word == str(device) else word for word in words), *options]

    def start(self, tracker: Address, key: DeviceKey, *options: str) -> AgentProcess:
        """One of our agents, registered."""
        return AgentProcess.of(ChildProcess(self.command(tracker, str(key), *options), ()), tracker, key)

    def serve(self, tracker: Address, key: DeviceKey) -> AbstractContextManager[object]:
        return self.start(tracker, key) if self.ours else stock_server(tracker, key)


PYTHON, STOCK = Kind("agent"), Kind("stock")
AGENTS = (PYTHON, Kind("edge"), Kind("edge-cortex-a76", cpu="cortex-a76"))


@contextmanager
def stock_server(tracker: Address, key: DeviceKey) -> Iterator[int]:
    """TVM's own server; its process id."""
    command = [sys.executable, "-m", "tvm.exec.rpc_server", "--host", "127.0.0.1", "--silent"]
    command += ["--tracker", str(tracker), "--key", str(key), "--port", "20000", "--port-end", "32768"]
    process = subprocess.Popen(
        command,
        env={**os.environ, "TVM_BIND_THREADS": "0", "TVM_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert wait_until(lambda: state_of(tracker, key) == "free")
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def descendants() -> set[int]:
    return {each.pid for each in psutil.Process().children(recursive=True)}


def command_line(pid: int) -> list[str]:
    """Of a process; nothing when it has ended."""
    try:
        return psutil.Process(pid).cmdline()
    except psutil.NoSuchProcess:  # A zombie is one, too.
        return []


def listening_ports() -> set[tuple[str, int]]:
    """Host and port of every listening TCP socket of this process and its descendants."""
    ports: set[tuple[str, int]] = set()
    for pid in {os.getpid(), *descendants()}:
        with suppress(psutil.NoSuchProcess):
            connections = psutil.Process(pid).net_connections("inet")
            ports |= {tuple(each.laddr) for each in connections if each.status == psutil.CONN_LISTEN}
    return ports
