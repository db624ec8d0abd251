from pathlib import Path

import pytest

from cluster.cli import main
from tracker.credential import Credential


def test_a_fleet_is_made_once_and_grows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "fleet")
    assert main(["fleet", "init", folder, "--device", "rpi4.a"]) == 0
    first = (tmp_path / "fleet" / "rpi4.a" / "key.pem").read_bytes()
    assert main(["fleet", "init", folder, "--device", "rpi4.a", "--device", "rpi4.b"]) == 0
    assert (tmp_path / "fleet" / "rpi4.a" / "key.pem").read_bytes() == first
    assert main(["fleet", "add", folder, "rpi4.c", "rpi4.a"]) == 0
    holders = [Credential.open(tmp_path / "fleet" / name).holder for name in ("rpi4.a", "rpi4.b", "rpi4.c")]
    assert holders == ["rpi4.a", "rpi4.b", "rpi4.c"]
    assert f"kept {folder}/rpi4.a" in capsys.readouterr().out


def test_a_credential_is_renewed_and_revoked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path)
    main(["fleet", "init", folder, "--device", "rpi4.a"])
    key = tmp_path / "rpi4.a" / "key.pem"
    first = key.read_bytes()
    assert main(["fleet", "add", folder, "rpi4.a", "--renew", "--days", "30"]) == 0
    assert key.read_bytes() != first
    assert main(["fleet", "revoke", folder, "rpi4.a"]) == 0
    assert not key.exists()
    assert "revoked 2 certificates of rpi4.a" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["init", "DIR", "--device", "rpi4"], "write CLASS.UNIT"),
        (["add", "DIR", "rpi4.a"], "`blinknet fleet init DIR` makes one"),
        (["revoke", "DIR", "../x"], "write CLASS.UNIT"),
    ],
)
def test_wrong_input_is_one_message(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["fleet", *arguments]) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.pem"))
