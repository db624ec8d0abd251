"""Rows of devices, from registrations, answers and stories that are made up."""

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from rich.console import Console

from cluster.devices import DeviceRow, device_rows, without_fingerprint
from cluster.devices_survey import sharing
from cluster.devices_text import age_text, device_json, device_line, device_table, features_text
from cost_model.device_event import DeviceEvent
from cost_model.fingerprint import Fingerprint, fingerprint_event
from tracker.address import Address
from tracker.device import Description
from tracker.failure import Failure
from tracker.inventory import Registration

NOW_S = 1_700_000_000.0
BOARD = Description(
    "aarch64", "Cortex-A76", ("asimd", "asimddp"), 4, 4 << 30, 2.4e9, 51.6, "boot", (3,), 7, "blinknet"
)
FOUND = Fingerprint(38.5, 76.25, 9.5, 2.5e-8)


def there(key: str, state: str = "free") -> Registration:
    return Registration(key, Address("10.0.0.7", 9090), state)  # type: ignore[arg-type]


def event(device: str, kind: str, reason: str = "", ago_s: float = 60.0) -> DeviceEvent:
    return DeviceEvent(device, kind, reason, NOW_S - ago_s)


def only(rows: Sequence[DeviceRow]) -> DeviceRow:
    (row,) = rows
    return row


def test_a_device_that_answers_is_shown_as_it_says() -> None:
    row = only(device_rows([there("rpi5.a")], {"rpi5.a": BOARD}, [], {"rpi5.a": NOW_S}))
    assert (row.device_class, row.unit, row.state, row.agent) == ("rpi5", "a", "free", "blinknet")
    assert (row.cores, row.memory_bytes, row.temperature_c) == (4, 4 << 30, 51.6)
    assert row.fingerprint is None
    assert without_fingerprint([row]) == ("rpi5.a",)


def test_a_stored_fingerprint_is_shown_and_not_wanted_again() -> None:
    story = [fingerprint_event("rpi5.a", BOARD, FOUND, NOW_S - 9)]
    row = only(device_rows([there("rpi5.a")], {"rpi5.a": BOARD}, story, {}))
    assert row.fingerprint == FOUND
    assert without_fingerprint([row]) == ()


def test_a_busy_or_lost_device_is_shown_as_it_was_measured() -> None:
    story = [fingerprint_event(key, BOARD, FOUND, NOW_S - 90) for key in ("rpi5.a", "rpi5.b")]
    story.append(event("rpi5.b", "lost", "it is no longer registered", 30))
    busy, lost = device_rows([there("rpi5.a", "busy")], {}, story, {"rpi5.a": NOW_S})
    assert (busy.state, lost.state) == ("busy", "lost")
    assert [each.architecture for each in (busy, lost)] == ["aarch64", "aarch64"]
    assert [each.fingerprint for each in (busy, lost)] == [FOUND, FOUND]
    assert lost.reason == "it is no longer registered"
    assert lost.seen_s == NOW_S - 90
    assert "lost, last seen 2 min ago, it is no longer registered" in device_line(lost, NOW_S)


def test_an_emulated_device_is_called_so_while_it_cannot_be_asked() -> None:
    board = replace(BOARD, emulated=True)
    story = [fingerprint_event("rpi5.a", board, FOUND, NOW_S - 90)]
    assert only(device_rows([there("rpi5.a", "busy")], {}, story, {})).emulated


def test_a_failure_is_a_cell() -> None:
    failure = Failure("timeout", "no answer within 5 s", "rpi5.a", "describe")
    row = only(device_rows([there("rpi5.a")], {"rpi5.a": failure}, [], {}))
    assert row.problem == "timeout: no answer within 5 s"
    assert without_fingerprint([row]) == ()
    assert "no answer within 5 s" in device_line(row, NOW_S)


def test_a_quarantine_lasts_until_the_release() -> None:
    story = [event("rpi5.a", "quarantined", "3 crashes", 50)]
    row = only(device_rows([there("rpi5.a")], {}, story, {}))
    assert (row.state, row.reason) == ("quarantined", "3 crashes")
    story.append(event("rpi5.a", "released", "", 10))
    assert only(device_rows([there("rpi5.a")], {}, story, {})).state == "free"
    assert row.events == {"quarantined": 1}


def test_a_device_that_was_seen_a_moment_ago_stays() -> None:
    row = only(device_rows([], {"rpi5.a": BOARD}, [], {"rpi5.a": NOW_S - 12}))
    assert (row.state, row.architecture) == ("lost", "aarch64")
    assert "lost, last seen 12 s ago" in device_line(row, NOW_S)


def test_a_key_with_several_servers_is_one_row_that_is_free_if_one_of_them_is() -> None:
    row = only(device_rows([there("lab.a", "free"), there("lab.a", "busy")], {}, [], {}))
    assert row.state == "free"


def test_a_foreign_key_is_ignored_and_shown() -> None:
    row = only(device_rows([there("jetson")], {}, [], {}))
    assert (row.state, row.device) == ("ignored", "jetson")
    assert "jetson  ignored, its key is not CLASS.UNIT" in device_line(row, NOW_S)


def test_everything_is_in_the_json() -> None:
    story = [fingerprint_event("rpi5.a", BOARD, FOUND, NOW_S - 9)]
    row = only(device_rows([there("rpi5.a")], {"rpi5.a": BOARD}, story, {"rpi5.a": NOW_S}))
    said = json.loads(device_json(row))
    assert said["features"] == ["asimd", "asimddp"]
    assert said["fingerprint"]["float32_gflops"] == 38.5
    assert (said["state"], said["seen_s"], said["clock_hz"]) == ("free", NOW_S, 2.4e9)


def test_the_table_has_no_empty_columns() -> None:
    rows = device_rows([there("rpi5.a")], {"rpi5.a": BOARD}, [], {"rpi5.a": NOW_S})
    screen = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    screen.print(device_table(rows, NOW_S, ["[a note]"]))
    shown = screen.export_text()
    assert "GFLOP/s" not in shown
    assert all(word in shown for word in ("52 °C", "2.40 GHz", "4 GiB", "aarch64_dotprod", "[a note]"))


@pytest.mark.parametrize(
    ("architecture", "features", "words"),
    [
        ("aarch64", ("asimd", "asimddp"), "aarch64_dotprod"),
        ("sparc64", ("a", "b", "c", "d", "e"), "a b c and 2 more"),
        ("", (), ""),
    ],
)
def test_features_are_what_kernels_are_compiled_for(
    architecture: str, features: tuple[str, ...], words: str
) -> None:
    assert words in features_text(architecture, features)


@pytest.mark.parametrize(
    ("age_s", "text"), [(1, "now"), (59, "59 s ago"), (60, "1 min ago"), (7200, "2 h ago"), (1e6, "12 d ago")]
)
def test_ages(age_s: float, text: str) -> None:
    assert age_text(NOW_S - age_s, NOW_S) == text


def test_devices_that_share_a_core_are_in_one_group() -> None:
    def on(*cores: int, host: str = "here") -> Description:
        return Description("x86_64", "", (), 8, 1, None, None, host, cores, 1, "blinknet")

    devices = {"a": on(0), "b": on(1), "c": on(1, host="there"), "d": on(0, 1), "e": on(2)}
    assert sorted(map(sorted, sharing(devices))) == [["a", "b", "d"], ["c"], ["e"]]
