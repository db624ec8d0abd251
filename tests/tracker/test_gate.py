"""Nobody without the right credential gets anything from any port; everybody else is served meanwhile."""

import os
import signal
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.tracker.models import MATMUL, SLEEP, Model
from tests.tracker.secured import SecuredFleet, blinknet
from tests.tracker.servers import descendants, listening_ports, state_of, wait_until
from tracker.access import COORDINATOR, TRACKER, Access
from tracker.address import Address
from tracker.authority import Authority
from tracker.credential import Credential
from tracker.device import DeviceKey
from tracker.errors import TrackerError
from tracker.failure import Failure, SessionFailed
from tracker.handshake import greeting
from tracker.inventory import registered
from tracker.session import Session
from tracker.timing import Timing
from tracker.tracker import TrackerProcess
from tracker.wire import (
    PENDING_MATCHKEYS,
    PUT,
    REQUEST,
    SUMMARY,
    TRACKER_MAGIC,
    UPDATE_INFO,
    TrackerConnection,
)

ONE, TWO = DeviceKey("lab", "one"), DeviceKey("lab", "two")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredFleet]:
    made = SecuredFleet(tmp_path_factory.mktemp("credentials") / "fleet")
    with made.tracking(), made.device(ONE):
        yield made


@pytest.fixture(scope="module")
def strangers(fleet: SecuredFleet, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Credentials that are good for nothing, by what is wrong with them."""
    other = Authority.establish(tmp_path_factory.mktemp("other") / "fleet")
    folder = tmp_path_factory.mktemp("strangers")
    expired = fleet.authority.issue(COORDINATOR, timedelta(seconds=-1)).rename(folder / "expired")
    fleet.authority.issue(COORDINATOR).rename(folder / "revoked")
    fleet.authority.revoke(COORDINATOR)
    fleet.authority.issue(COORDINATOR)
    return {
        "expired": expired,
        "revoked": folder / "revoked",
        "another fleet's": other.issue(COORDINATOR),
        "the tracker's": fleet.authority.folder / TRACKER,
    }


def device_address(fleet: SecuredFleet, key: DeviceKey = ONE) -> Address:
    (found,) = [each.address for each in registered(fleet.tracker) if each.device == key]
    return found


def works(fleet: SecuredFleet) -> bool:
    with Session.open(fleet.tracker, ONE) as session:
        return session.describe().agent == "blinknet"


HELLO = struct.pack("<i", TRACKER_MAGIC) + struct.pack("<i", 3) + b"[6]" + greeting("lab.one:0.5", 10)


def _client_hello() -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    half = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="x")
    with pytest.raises(ssl.SSLWantReadError):
        half.do_handshake()
    return outgoing.read()


PEERS: dict[str, Callable[[], bytes]] = {
    "says nothing": lambda: b"",
    "speaks plaintext": lambda: HELLO,
    "sends garbage": lambda: b"GET / HTTP/1.1\r\n\r\n" * 10,
    "sends half a client hello": lambda: _client_hello()[:40],
    "goes away amid the handshake": _client_hello,
}


@pytest.mark.parametrize("peer", PEERS)
def test_who_speaks_no_tls_gets_no_answer_and_keeps_nobody_waiting(fleet: SecuredFleet, peer: str) -> None:
    with ExitStack() as stack:
        peers = []
        for address in (fleet.tracker, device_address(fleet)):
            for _ in range(3):
                connection = stack.enter_context(socket.create_connection((address.host, address.port), 20))
                connection.sendall(PEERS[peer]())
                peers.append(connection)
        assert works(fleet)
        for connection in peers:
            answer = _everything(connection)
            assert not any(word in answer for word in (b"lab", b"server", b"queue_info"))
    assert works(fleet)


def _everything(connection: socket.socket) -> bytes:
    """Until the other side ends the connection."""
    data = b""
    try:
        while chunk := connection.recv(4096):
            data += chunk
    except ConnectionError:
        pass
    return data


def _answer(address: Address, context: ssl.SSLContext, words: bytes) -> bytes:
    """What a TLS client is told; nothing when it is refused."""
    with socket.create_connection((address.host, address.port), 20) as plain:
        try:
            with context.wrap_socket(plain) as secured:
                secured.sendall(words)
                return secured.recv(4096)
        except OSError:
            return b""


def _without_certificate(fleet: SecuredFleet) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _of_old_tls(fleet: SecuredFleet) -> ssl.SSLContext:
    context = _without_certificate(fleet)
    context.load_cert_chain(
        *(fleet.authority.folder / COORDINATOR / each for each in ("certificate.pem", "key.pem"))
    )
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


@pytest.mark.parametrize("context", [_without_certificate, _of_old_tls])
def test_tls_alone_opens_nothing(
    fleet: SecuredFleet, context: Callable[[SecuredFleet], ssl.SSLContext]
) -> None:
    for address in (fleet.tracker, device_address(fleet)):
        assert _answer(address, context(fleet), HELLO) == b""
    assert works(fleet)


@pytest.mark.parametrize("flaw", ["expired", "revoked", "another fleet's", "the tracker's"])
def test_a_credential_that_does_not_hold_opens_nothing(
    fleet: SecuredFleet, strangers: dict[str, Path], flaw: str
) -> None:
    """Even for a client that trusts everybody."""
    context = _without_certificate(fleet)
    context.load_cert_chain(strangers[flaw] / "certificate.pem", strangers[flaw] / "key.pem")
    for address in (fleet.tracker, device_address(fleet)):
        assert _answer(address, context, HELLO) == b""
    assert works(fleet)


@pytest.mark.parametrize(
    ("flaw", "words"),
    [
        ("expired", "expired on .* --renew"),
        ("revoked", "hangs up at once.* its own output says why"),
        ("another fleet's", "its certificate does not hold"),
        ("the tracker's", "credential of tracker, not of coordinator"),
    ],
)
def test_our_own_client_says_what_is_wrong(
    fleet: SecuredFleet, strangers: dict[str, Path], flaw: str, words: str
) -> None:
    with pytest.raises(TrackerError, match=words):
        registered(Address(fleet.host, fleet.port, Access(strangers[flaw])))


def test_a_client_without_a_credential_sends_nothing(fleet: SecuredFleet) -> None:
    with pytest.raises(TrackerError, match="--credential"):
        registered(Address(fleet.host, fleet.port))


FORBIDDEN = {
    "list": [SUMMARY],
    "ask for a device": [REQUEST, "lab.one", "", 1],
    "register another": [UPDATE_INFO, {"key": "server:lab.one", "addr": ["10.0.0.9", 9]}],
    "offer another": [PUT, "lab.one", [9, "lab.one:0.5"], None],
    "stop the tracker": [2, "key"],
    "break the counting": [PUT, "lab.two:x", [9, "lab.two:x"], None],
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_a_device_registers_itself_and_can_do_nothing_else(fleet: SecuredFleet, what: str) -> None:
    fleet.authority.issue(str(TWO))
    before = registered(fleet.tracker)
    with TrackerConnection(fleet.reached_by(str(TWO)), 5.0, str(TWO)) as connection:
        assert connection.call(UPDATE_INFO, {"key": "server:lab.two", "addr": [None, 9]}) == 0
        assert connection.call(PENDING_MATCHKEYS) == []
        assert device_address(fleet, TWO).host == fleet.host
        with pytest.raises(OSError, match=r"closed|reset"):
            connection.call(*FORBIDDEN[what])
    assert wait_until(lambda: registered(fleet.tracker) == before)


def test_a_coordinator_registers_nothing(fleet: SecuredFleet) -> None:
    with TrackerConnection(fleet.tracker, 5.0) as connection, pytest.raises(OSError, match=r"closed|reset"):
        connection.call(UPDATE_INFO, {"key": "server:lab.two", "addr": ["10.0.0.9", 9]})
    assert works(fleet)


def test_a_device_opens_no_device(fleet: SecuredFleet) -> None:
    fleet.authority.issue(str(TWO))
    context = Credential.open(fleet.authority.folder / str(TWO)).client_context()
    assert _answer(device_address(fleet), context, greeting("lab.one:0.5", 10)) == b""
    with pytest.raises(SessionFailed, match="coordinator"):
        Session.open(fleet.reached_by(str(TWO)), ONE)


def test_another_device_in_its_place_is_noticed(fleet: SecuredFleet) -> None:
    """The tracker is a loopback one that was lied to."""
    with fleet.device(TWO), TrackerProcess.start() as liar:
        impostor = device_address(fleet, TWO)
        with TrackerConnection(liar.address, 3.0) as connection:
            connection.call(UPDATE_INFO, {"key": "server:lab.one", "addr": [impostor.host, impostor.port]})
            connection.call(PUT, "lab.one", [impostor.port, "lab.one:0.5"], impostor.host)
            address = Address(liar.address.host, liar.address.port, fleet.access(COORDINATOR))
            with pytest.raises(SessionFailed, match=r"that of lab.two, not of lab.one"):
                Session.open(address, ONE)


def test_sessions_time_and_predict_as_ever(fleet: SecuredFleet, kernels: Path, model: Model) -> None:
    inputs = np.random.default_rng(1).normal(size=(257, *model.input_shape)).astype(np.float32)
    with Session.open(fleet.tracker, ONE) as session:
        (timing,) = session.time_functions(kernels, [MATMUL])
        shapes = ([model.input_shape], [model.output_shape])
        session.load_network("net", model.library, model.parameters, *shapes)
        (outputs,) = session.predict("net", [inputs])
    assert isinstance(timing, Timing)
    np.testing.assert_allclose(outputs, model(inputs), rtol=1e-4, atol=1e-5)


def test_a_session_whose_time_is_over_hears_so(fleet: SecuredFleet, kernels: Path) -> None:
    with Session.open(fleet.tracker, ONE, session_timeout_s=0.5) as session:
        (failure,) = session.time_functions(kernels, [SLEEP])
    assert isinstance(failure, Failure)
    assert (failure.kind, "0.5 s are over" in failure.message) == ("timeout", True)
    assert works(fleet)


def test_a_device_of_another_fleet_says_why_it_does_not_register(fleet: SecuredFleet, tmp_path: Path) -> None:
    credential = Authority.establish(tmp_path / "other").issue(str(TWO))
    arguments = [
        "device",
        "--tracker",
        str(fleet.tracker),
        "--key",
        str(TWO),
        "--credential",
        str(credential),
    ]
    with blinknet(*arguments, "--credential", str(credential)) as agent:
        assert agent.stderr is not None
        message = agent.stderr.readline()
    assert f"device {TWO} cannot register with {fleet.tracker} and keeps trying" in message
    assert "its certificate does not hold" in message
    assert state_of(fleet.tracker, TWO) == "gone"


def test_a_session_ends_with_its_tunnel_and_the_device_is_free(fleet: SecuredFleet) -> None:
    with Session.open(fleet.tracker, ONE) as session:
        (tunnel,) = psutil.Process(session.pid).children()
        os.kill(tunnel.pid, signal.SIGKILL)
        with pytest.raises(SessionFailed):
            session.describe()
    assert wait_until(lambda: state_of(fleet.tracker, ONE) == "free")
    assert works(fleet)


def test_a_session_that_is_killed_leaves_no_tunnel(fleet: SecuredFleet) -> None:
    before = descendants()
    with Session.open(fleet.tracker, ONE) as session:
        tunnels = psutil.Process(session.pid).children()
        os.kill(session.pid, signal.SIGKILL)
    assert tunnels
    assert wait_until(lambda: not any(each.is_running() for each in tunnels))
    assert wait_until(lambda: state_of(fleet.tracker, ONE) == "free")
    assert wait_until(lambda: descendants() <= before)


def test_an_agent_ends_with_its_gate_and_says_so(fleet: SecuredFleet) -> None:
    with fleet.device(TWO) as agent:
        (gate,) = psutil.Process(agent.pid).children()
        gate.kill()
        assert agent.wait(20) != 0
        assert agent.stderr is not None
        assert "the gate has ended" in agent.stderr.read()
    assert wait_until(lambda: state_of(fleet.tracker, TWO) == "gone")


def test_a_revocation_counts_without_a_restart(fleet: SecuredFleet, tmp_path: Path) -> None:
    fleet.authority.issue(str(TWO)).rename(tmp_path / "stolen")
    stolen = Address(fleet.host, fleet.port, Access(tmp_path / "stolen"))
    with TrackerConnection(stolen, 5.0, str(TWO)) as connection:
        assert connection.call(PENDING_MATCHKEYS) == []
    fleet.authority.revoke(str(TWO))
    with pytest.raises(OSError, match="hangs up"):
        TrackerConnection(stolen, 5.0, str(TWO))


def test_a_gate_listens_and_nothing_else_of_it_does(fleet: SecuredFleet) -> None:
    """Tracker and agent themselves have no port at all."""
    with Session.open(fleet.tracker, ONE) as session:
        assert session.describe().pid
        public = {each for each in listening_ports() if each[0] != "127.0.0.1"}
    assert public == {(fleet.host, fleet.port), (fleet.host, device_address(fleet).port)}
