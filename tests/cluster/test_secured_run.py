"""A whole run against a fleet behind mutual TLS: driver, Ray's actors, sessions and signs of life."""

from pathlib import Path

from cluster.outputs import find, read_result
from tests.cluster.jobs import CommandLine, tiny_network, write_job
from tests.tracker.secured import SecuredFleet
from tracker.access import COORDINATOR
from tracker.device import DeviceKey

DEVICE = DeviceKey("x86-64-v2", "one")


def test_a_run_ends_with_certificates_and_without_a_credential_it_never_starts(tmp_path: Path) -> None:
    commands = CommandLine()
    job = write_job(tmp_path, DEVICE.device_class, network=tiny_network(tmp_path / "tiny.onnx"))
    fleet = SecuredFleet(tmp_path / "fleet")
    with fleet.tracking(), fleet.device(DEVICE):
        where = ("--tracker", str(fleet.tracker))
        assert "name a credential" in commands.run(*job.arguments, *where, code=2)
        credential = str(fleet.authority.folder / COORDINATOR)
        commands.run(*job.arguments, *where, "--credential", credential, timeout_s=240.0)
    result = read_result(find(job.folder), str(DEVICE))
    assert result.verdict == "holds"
    assert not commands.left_behind()
