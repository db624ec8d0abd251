"""Authorities and credentials, with real handshakes over socket pairs."""

import socket
import ssl
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from tracker.access import COORDINATOR, TRACKER
from tracker.authority import Authority
from tracker.credential import Credential, holder_of, reason, verify_holder
from tracker.errors import TrackerError

DEVICE = "rpi4.unit-02"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority.establish(tmp_path / "fleet")
    for holder in (TRACKER, COORDINATOR, DEVICE):
        made.issue(holder)
    return made


def credential(authority: Authority, holder: str) -> Credential:
    return Credential.open(authority.folder / holder)


def shake_hands(server: Credential, client: Credential) -> tuple[str, str]:
    """Whom the server and the client take each other for, or why not."""
    ours, theirs = socket.socketpair()
    outcome: list[str] = []

    def accept() -> None:
        with ours:
            outcome.append(_peer(server.server_context(), ours, server_side=True))

    accepting = threading.Thread(target=accept)
    accepting.start()
    with theirs:
        seen = _peer(client.client_context(), theirs, server_side=False)
    accepting.join()
    return outcome[0], seen


def _peer(context: ssl.SSLContext, plain: socket.socket, *, server_side: bool) -> str:
    try:
        with context.wrap_socket(plain, server_side=server_side) as secured:
            if server_side:
                secured.sendall(b"x")
            elif not secured.recv(1):
                return "nothing"
            return holder_of(secured)
    except OSError as error:
        return reason(error)


def test_tracker_and_devices_accept_coordinators(authority: Authority) -> None:
    for server in (TRACKER, DEVICE):
        seen = shake_hands(credential(authority, server), credential(authority, COORDINATOR))
        assert seen == (COORDINATOR, server)


def test_a_device_is_a_client_of_the_tracker(authority: Authority) -> None:
    seen = shake_hands(credential(authority, TRACKER), credential(authority, DEVICE))
    assert seen == (DEVICE, TRACKER)


@pytest.mark.parametrize(("server", "client"), [(COORDINATOR, DEVICE), (DEVICE, TRACKER)])
def test_a_coordinator_serves_nobody_and_a_tracker_calls_nobody(
    authority: Authority, server: str, client: str
) -> None:
    seen = shake_hands(credential(authority, server), credential(authority, client))
    assert any("unsuitable certificate purpose" in each for each in seen)


def test_another_fleet_s_credential_is_refused_by_both(authority: Authority, tmp_path: Path) -> None:
    other = Authority.establish(tmp_path / "other")
    other.issue(COORDINATOR)
    seen = shake_hands(credential(authority, TRACKER), credential(other, COORDINATOR))
    assert "certificate" in seen[0]
    assert "certificate does not hold" in seen[1]


def test_an_expired_credential_is_refused(authority: Authority) -> None:
    authority.issue(COORDINATOR, timedelta(seconds=-1))
    ours, theirs = shake_hands(credential(authority, TRACKER), credential(authority, COORDINATOR))
    assert ours == "its certificate does not hold: certificate has expired"
    assert theirs == "it refuses us: our certificate has expired"


def test_revocation_ends_what_a_holder_had_and_not_what_it_gets(authority: Authority, tmp_path: Path) -> None:
    stolen = tmp_path / "stolen"
    authority.issue(COORDINATOR).rename(stolen)
    authority.issue(COORDINATOR)
    assert authority.revoke(COORDINATOR) == 3
    assert not authority.has(COORDINATOR)
    authority.issue(COORDINATOR)
    seen = shake_hands(credential(authority, TRACKER), Credential.open(stolen))
    assert seen[0] == "its certificate does not hold: certificate revoked"
    assert seen[1] == "it refuses us: our certificate was revoked"
    fresh = shake_hands(credential(authority, TRACKER), credential(authority, COORDINATOR))
    assert fresh == (COORDINATOR, TRACKER)


def test_a_unit_s_revocation_leaves_units_of_similar_names_alone(authority: Authority) -> None:
    authority.issue(f"{DEVICE}.2")
    authority.revoke(DEVICE)
    seen = shake_hands(credential(authority, f"{DEVICE}.2"), credential(authority, COORDINATOR))
    assert seen == (COORDINATOR, f"{DEVICE}.2")


def test_the_holder_that_was_asked_for_is_what_counts(authority: Authority) -> None:
    ours, theirs = socket.socketpair()
    server = threading.Thread(
        target=_peer,
        args=(credential(authority, DEVICE).server_context(), ours),
        kwargs={"server_side": True},
    )
    server.start()
    context = credential(authority, COORDINATOR).client_context()
    with theirs, context.wrap_socket(theirs) as secured:
        with pytest.raises(ssl.SSLError, match=r"that of rpi4.unit-02, not of rpi4.unit-03"):
            verify_holder(secured, "rpi4.unit-03")
        secured.recv(1)
    server.join()
    ours.close()


def test_an_authority_is_never_overwritten(authority: Authority) -> None:
    again = Authority.establish(authority.folder)
    again.issue("rpi4.unit-03")
    seen = shake_hands(credential(again, "rpi4.unit-03"), credential(authority, COORDINATOR))
    assert seen == (COORDINATOR, "rpi4.unit-03")


def test_keys_are_for_their_owner_alone(authority: Authority) -> None:
    keys = [*authority.folder.rglob("key.pem")]
    assert len(keys) == 4
    assert {each.stat().st_mode & 0o777 for each in keys} == {0o600}


def test_a_key_that_others_can_read_is_refused(authority: Authority) -> None:
    key = authority.folder / DEVICE / "key.pem"
    key.chmod(0o644)
    with pytest.raises(TrackerError, match=f"chmod 600 {key}"):
        credential(authority, DEVICE)


@pytest.mark.parametrize("missing", ["key.pem", "certificate.pem", "authority.pem"])
def test_an_incomplete_credential_is_named(authority: Authority, missing: str) -> None:
    (authority.folder / DEVICE / missing).unlink()
    with pytest.raises(TrackerError, match=f"{missing}.*blinknet fleet init"):
        credential(authority, DEVICE)


def test_somebody_else_s_credential_is_refused_before_anything_listens(authority: Authority) -> None:
    with pytest.raises(TrackerError, match=r"credential of rpi4.unit-02, not of tracker"):
        credential(authority, DEVICE).of(TRACKER)


def test_an_expired_credential_is_told_how_to_be_renewed(authority: Authority) -> None:
    authority.issue(DEVICE, timedelta(seconds=-1))
    with pytest.raises(TrackerError, match=f"blinknet fleet add DIR {DEVICE} --renew"):
        credential(authority, DEVICE).of(DEVICE)


def test_no_authority_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrackerError, match="blinknet fleet init"):
        Authority(tmp_path)
