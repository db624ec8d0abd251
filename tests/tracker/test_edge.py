import os
import signal
import socket
import subprocess
import sys
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest
from tvm import rpc

from tests.tracker.servers import AGENTS, PYTHON, Kind, state_of, wait_until
from tracker.address import Address
from tracker.agent import AgentProcess
from tracker.device import DeviceKey
from tracker.edge_errors import MissingToolError
from tracker.failure import Failure
from tracker.inventory import registered
from tracker.session import Session
from tracker.timing import Argument, Timing, TimingRequest

KEY = DeviceKey("lab", "edge-own")
EDGE = [each for each in AGENTS if each != PYTHON]
DOT = TimingRequest("dot", (Argument((1,), "int32", "zeros"),))

DOT_SOURCE = """
int __tvm_ffi_dot(void* self, const void* arguments, int count, void* result) {
  __asm__ volatile("sdot v0.4s, v1.16b, v2.16b" ::: "v0");
  return 0;
}
"""


@pytest.fixture(params=EDGE, ids=[each.name for each in EDGE])
def edge(request: pytest.FixtureRequest, tracker: Address) -> Iterator[AgentProcess]:
    """The C++ agent for one test, native and emulated."""
    try:
        process = request.param.start(tracker, KEY)
    except MissingToolError as error:
        pytest.skip(str(error))
    with process:
        yield process


def remote(tracker: Address, key: DeviceKey) -> rpc.RPCSession:
    return rpc.connect_tracker(tracker.host, tracker.port).request(str(key), session_timeout=30)


def test_the_agents_describe_a_machine_alike(tracker: Address) -> None:
    python, edge = AGENTS[:2]
    descriptions = []
    for kind in (python, edge):
        with kind.start(tracker, KEY, "--cores", "0"), Session.open(tracker, KEY) as session:
            descriptions.append(asdict(session.describe()))
    changing = dict.fromkeys(("pid", "clock_hz", "temperature_c"))
    assert descriptions[0] | changing == descriptions[1] | changing


@pytest.mark.parametrize(
    ("cpu", "there", "missing"),
    [
        ("cortex-a72", "asimd", "asimddp"),
        ("cortex-a76", "asimddp", "i8mm"),
        ("Nehalem", "sse4_2", "avx"),
        ("Haswell", "avx2", "avx512f"),
    ],
)
def test_an_emulated_device_shows_the_features_of_its_processor(
    tracker: Address, cpu: str, there: str, missing: str
) -> None:
    with emulated(tracker, cpu), Session.open(tracker, KEY) as session:
        description = session.describe()
    assert (description.cpu, description.emulated) == (cpu, True)
    assert there in description.features
    assert missing not in description.features
    assert (description.clock_hz, description.temperature_c) == (None, None)


def test_an_instruction_that_the_processor_lacks_is_a_crash(tracker: Address, tmp_path: Path) -> None:
    library = tmp_path / "dot.so"
    with emulated(tracker, "cortex-a76"), Session.open(tracker, KEY) as session:
        compile_for_aarch64(DOT_SOURCE, library)
        assert isinstance(session.time_functions(library, [DOT])[0], Timing)
    with emulated(tracker, "cortex-a72"):
        with Session.open(tracker, KEY) as session:
            (failure,) = session.time_functions(library, [DOT])
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.operation) == ("crash", "time dot")
        with Session.open(tracker, KEY) as session:
            assert session.describe().cpu == "cortex-a72"


def test_a_session_that_is_stopped_is_given_up(tracker: Address, edge: AgentProcess) -> None:
    with Session.open(tracker, KEY) as session:
        served = session.describe().pid
        os.kill(served, signal.SIGSTOP)
        assert wait_until(lambda: not psutil.pid_exists(served), 10.0)
        assert wait_until(lambda: state_of(tracker, KEY) == "free")


def test_any_number_of_silent_peers_may_connect(tracker: Address, edge: AgentProcess) -> None:
    (place,) = [each.address for each in registered(tracker) if each.key == str(KEY)]
    peers = [socket.create_connection((place.host, place.port)) for _ in range(100)]
    try:
        with Session.open(tracker, KEY) as session:
            assert session.describe().pid > 0
    finally:
        for peer in peers:
            peer.close()


def test_a_silent_peer_is_dropped(tracker: Address, edge: AgentProcess) -> None:
    (place,) = [each.address for each in registered(tracker) if each.key == str(KEY)]
    with socket.create_connection((place.host, place.port), timeout=30) as peer:
        assert peer.recv(1) == b""


def test_uploads_have_a_checksum(tracker: Address, edge: AgentProcess) -> None:
    session = remote(tracker, KEY)
    content = bytes(range(256)) * 1000
    session.upload(bytearray(content), "some.bin")
    checksum = session.get_function("blinknet.checksum")
    assert str(checksum("some.bin")) == f"{zlib.crc32(content):08x}"
    with pytest.raises(Exception, match=r"no file other\.bin"):
        checksum("other.bin")
    del checksum, session


def test_memory_is_limited_where_that_can_be_enforced(tracker: Address, edge: AgentProcess) -> None:
    session = remote(tracker, KEY)
    describe, limit = (session.get_function(f"blinknet.{name}") for name in ("describe", "limit_memory"))
    emulated = '"emulated": true' in str(describe())
    assert limit(64 << 20) is not emulated
    if not emulated:
        read = session.get_function("blinknet.read_text")
        (limits,) = [line for line in str(read("/proc/self/limits")).splitlines() if "Max data size" in line]
        assert limits.split()[3].isdigit()
        del read
    del describe, limit, session


def test_text_that_is_no_utf_8_can_be_read(tracker: Address, edge: AgentProcess, tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"caf\xc3\xa9 \xff\xe2\x82 end\xc3")
    session = remote(tracker, KEY)
    read = session.get_function("blinknet.read_text")
    assert str(read(str(tmp_path / "text"))) == "café ??? end?"
    assert str(read(str(tmp_path / "none"))) == ""
    del read, session


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--frobnicate"], "--help"),
        (["--host"], "needs a value"),
        (["--tracker", "nowhere"], "HOST:PORT"),
        (["--cores", "one"], "choose from"),
        (["--host", "203.0.113.7"], "--host"),
    ],
)
def test_wrong_options_end_with_one_line(tracker: Address, options: list[str], complaint: str) -> None:
    command = AGENTS[1].command(tracker, str(KEY), *options)
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1)
    assert complaint in ended.stderr


def test_the_command_line_offers_an_emulated_device(tracker: Address) -> None:
    emulated_kind("cortex-a72")
    command = [sys.executable, "-m", "cluster", "device", "--tracker", str(tracker), "--key", str(KEY)]
    with subprocess.Popen(
        [*command, "--emulate", "cortex-a72"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"device {KEY} is registered with the tracker at {tracker}\n"
        with Session.open(tracker, KEY) as session:
            assert session.describe().cpu == "cortex-a72"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def emulated(tracker: Address, cpu: str) -> AgentProcess:
    return emulated_kind(cpu).start(tracker, KEY)


def emulated_kind(cpu: str) -> Kind:
    """Skips where a compiler or qemu is missing."""
    kind = Kind(cpu, cpu=cpu)
    try:
        kind.command(Address("127.0.0.1", 1), str(KEY))
    except MissingToolError as error:
        pytest.skip(str(error))
    return kind


def compile_for_aarch64(source: str, library: Path) -> None:
    path = library.with_suffix(".c")
    path.write_text(source)
    options = ["-march=armv8.2-a+dotprod", "-shared", "-fPIC", "-nostdlib", "-o", str(library), str(path)]
    subprocess.run(["aarch64-linux-gnu-gcc", *options], check=True)
