"""What may be reached from other machines, as the command line and the settings have it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.cli import main
from cluster.settings import load_cluster_settings
from tests.tracker.secured import blinknet, free_port, own_host
from tracker.access import COORDINATOR, CREDENTIAL_VARIABLE, PLAINTEXT_VARIABLE, Access, is_loopback
from tracker.address import Address
from tracker.authority import Authority
from tracker.errors import TrackerError
from tracker.inventory import registered

Refused = Callable[..., str]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The options are said in the environment, which ends with the test."""
    for name in (CREDENTIAL_VARIABLE, PLAINTEXT_VARIABLE):
        monkeypatch.setenv(name, "")


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    def run(*arguments: str) -> str:
        assert main(arguments) == 2
        return capsys.readouterr().err

    return run


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "farm-head"])  # noqa: S104
@pytest.mark.parametrize("command", [["tracker"], ["device", "--key", "lab.a"]])
def test_nothing_listens_in_public_without_a_credential(
    refused: Refused, command: list[str], host: str
) -> None:
    message = refused(*command, "--host", host)
    assert f"{host} can be reached from other machines" in message
    assert "--credential" in message
    assert "--allow-plaintext" in message


def test_somebody_else_s_credential_starts_no_device(refused: Refused, tmp_path: Path) -> None:
    folder = Authority.establish(tmp_path).issue("lab.b")
    tracker = f"{own_host()}:9"
    arguments = ["--tracker", tracker, "--key", "lab.a", "--host", own_host(), "--credential", str(folder)]
    assert "is the credential of lab.b, not of lab.a" in refused("device", *arguments)


def test_plaintext_in_public_is_warned_of_and_both_sides_must_want_it() -> None:
    host, port = own_host(), free_port()
    with blinknet("tracker", "--host", host, "--port", str(port), "--allow-plaintext") as tracker:
        assert tracker.stdout is not None
        assert f"tracker at {host}:{port}" in tracker.stdout.readline()
        assert registered(Address(host, port, Access(allow_plaintext=True))) == ()
        with pytest.raises(TrackerError, match="reached through TLS alone"):
            registered(Address(host, port))
        assert tracker.stderr is not None
        assert tracker.stderr.readline().startswith(f"WARNING: plaintext on {host}")


def test_a_public_tracker_is_listed_with_a_credential_only(refused: Refused, tmp_path: Path) -> None:
    assert "name a credential with --credential" in refused("devices", "--tracker", "10.0.0.7:9190")
    message = refused("devices", "--tracker", "10.0.0.7:9190", "--credential", str(tmp_path))
    assert f"{tmp_path} is no credential: it has no key.pem" in message


def test_a_device_s_credential_lists_nothing(refused: Refused, tmp_path: Path) -> None:
    folder = Authority.establish(tmp_path).issue("lab.b")
    message = refused("devices", "--tracker", "10.0.0.7:9190", "--credential", str(folder))
    assert f"not of {COORDINATOR}" in message


def test_the_settings_name_a_credential_and_the_environment_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "ray_config.yaml"
    path.write_text("metadata:\n  blinknet: {credential: here, allow_plaintext: true}\n")
    settings = load_cluster_settings(path)
    stated = Access(settings.credential, settings.allow_plaintext)
    assert settings.access == stated == Access(tmp_path / "here", allow_plaintext=True)
    assert Access.stated(Access(), {}) == Access()
    assert Access.stated(stated, {CREDENTIAL_VARIABLE: "/there"}) == Access(
        Path("/there"), allow_plaintext=True
    )
    assert Access.stated(Access(), {PLAINTEXT_VARIABLE: "1"}).allow_plaintext
    assert not Access.stated(Access(), {PLAINTEXT_VARIABLE: "0"}).allow_plaintext


def test_behind_tls_nothing_leads_back_to_plaintext() -> None:
    secured = Address("10.0.0.7", 9190, Access(Path("/c")))
    assert secured.beside("127.0.0.1", 9, "lab.a").tls
    assert not Address("127.0.0.1", 9190, Access(Path("/c"))).beside("127.0.0.1", 9, "lab.a").tls
    assert Address("127.0.0.1", 9190, Access(Path("/c"))).beside("10.0.0.8", 9, "lab.a").tls
    assert not Address("10.0.0.7", 9190, Access(allow_plaintext=True)).tls


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("", False)],
)
def test_loopback_is_what_cannot_be_reached(host: str, loopback: bool) -> None:
    assert is_loopback(host) == loopback
