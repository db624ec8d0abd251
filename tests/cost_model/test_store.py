"""The store with real files, real processes and real kills."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cost_model.context_reading import ContextReading
from cost_model.device_event import DeviceEvent
from cost_model.errors import CostModelError, StoreError
from cost_model.measurement import Evaluation, Measurement, NetworkRun, configuration_key
from cost_model.schema import CONTEXT_READINGS, DEVICE_EVENTS, MEASUREMENTS, TABLES, VERSION
from cost_model.store import Store

ROOT = Path(__file__).parents[2]
MEASUREMENT = Measurement(
    kernel="conv2d 3x3 tile 4x4",
    device_class="x86-64-v3",
    target="llvm -mcpu=x86-64-v3",
    versions="tvm 0.27",
    device="x86-64-v3.unit-01",
    number=10,
    seconds=(1.25e-5, 1.3e-5, 1.1e-5),
    converged=True,
    conditions={"governor": "performance", "celsius": 41.5},
)
KNOWN = ("x86-64-v3", "llvm -mcpu=x86-64-v3", "tvm 0.27")
EVALUATION = Evaluation(
    network="n" * 64,
    samples="s" * 64,
    configuration=configuration_key({"conv1": "int8 u8>u8", "conv2": "exact f32>f32"}),
    versions="tvm 0.27",
    count=1000,
    correct=911,
    divergence=0.0125,
    confidences=(0.5, 0.75),
)
RUN = NetworkRun(
    configuration=EVALUATION.configuration,
    network="n" * 64,
    device_class="x86-64-v3",
    target=KNOWN[1],
    versions="tvm 0.27",
    device="x86-64-v3.unit-01",
    seconds=(1e-3, 1.1e-3),
    exact_seconds=(2e-3,),
    peak_bytes=5_000_000_000,
    exact_peak_bytes=6_000_000,
    library_bytes=100_000,
    storage_bytes=800_000,
)

READING = ContextReading(
    kernel=MEASUREMENT.kernel,
    network="n" * 64,
    layer="conv1",
    step=0,
    configuration='[["exact f32>f32"],[[[4,4]]]]',
    device_class="x86-64-v3",
    target=KNOWN[1],
    versions="tvm 0.27",
    device="x86-64-v3.unit-01",
    seconds=(1.5e-5, 1.7e-5, 1.4e-5),
    clock_s=2.5e-8,
    rest_s=1e-6,
    conditions={"taken": "2026-11-23T18:00:00+00:00"},
)
EVENT = DeviceEvent(
    device="x86-64-v3.unit-01",
    kind="quarantined",
    reason="3 sessions of it crashed",
    at_s=1_700_000_000.25,
    facts={"faults": 3.0, "last": "SIGILL"},
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


def test_what_was_appended_is_read_back_bit_for_bit(path: Path) -> None:
    failed = replace(
        MEASUREMENT, kernel="broken", seconds=(), converged=False, failure="SIGILL in the session"
    )
    with Store(path) as store:
        assert store.append_measurements([MEASUREMENT, failed]) == 2
        assert store.append_evaluations([EVALUATION]) == 1
        assert store.append_runs([RUN]) == 1
        assert store.append_context_readings([READING]) == 1
    with Store(path, readonly=True) as store:
        assert store.measurements(*KNOWN) == {MEASUREMENT.kernel: MEASUREMENT, "broken": failed}
        assert store.evaluations("n" * 64, "s" * 64, "tvm 0.27") == {EVALUATION.configuration: EVALUATION}
        assert store.runs("n" * 64, *KNOWN) == (RUN,)
        assert store.context_readings(*KNOWN) == (READING,)
        counts = {"measurements": 2, "evaluations": 1, "runs": 1, "device_events": 0, "context_readings": 1}
        assert store.count() == counts


@settings(max_examples=100)
@given(
    seconds=st.lists(st.floats(min_value=0, exclude_min=True, allow_infinity=False), min_size=1, max_size=5),
    conditions=st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False) | st.text()),
    kernel=st.text(),
)
def test_every_measurement_survives_its_encoding(
    seconds: list[float], conditions: dict[str, float | str], kernel: str
) -> None:
    measurement = replace(MEASUREMENT, kernel=kernel, seconds=tuple(seconds), conditions=conditions)
    row = tuple(MEASUREMENTS.encode(measurement).values())
    assert MEASUREMENTS.decode(row) == measurement


def test_only_the_asked_for_class_target_and_versions_are_answered(path: Path) -> None:
    others = [replace(MEASUREMENT, **{field: "other"}) for field in ("device_class", "target", "versions")]  # type: ignore[arg-type]
    with Store(path) as store:
        store.append_measurements([MEASUREMENT, *others])
        assert store.count()["measurements"] == 4
        assert store.measurements(*KNOWN) == {MEASUREMENT.kernel: MEASUREMENT}
        assert store.measurements("x86-64-v3", KNOWN[1], "tvm 0.28") == {}


def test_nothing_is_measured_twice_unless_forced(path: Path) -> None:
    later = replace(MEASUREMENT, seconds=(9e-6,))
    with Store(path) as store:
        store.append_measurements([MEASUREMENT])
        assert store.append_measurements([later]) == 0
        assert store.measurements(*KNOWN)[MEASUREMENT.kernel] == MEASUREMENT
        assert store.append_measurements([later], force=True) == 1
        assert store.measurements(*KNOWN)[MEASUREMENT.kernel] == later
        assert store.count()["measurements"] == 2


def test_a_success_after_a_failure_needs_no_force(path: Path) -> None:
    failed = replace(MEASUREMENT, seconds=(), converged=False, failure="device lost")
    with Store(path) as store:
        store.append_measurements([failed])
        assert store.append_measurements([MEASUREMENT]) == 1
        assert store.measurements(*KNOWN)[MEASUREMENT.kernel] == MEASUREMENT
        assert store.append_measurements([failed]) == 0


def test_what_every_unit_shall_measure_is_kept_once_for_each(path: Path):
    other = replace(MEASUREMENT, device="x86-64-v3.other")
    with Store(path) as store:
        assert store.append_measurements([MEASUREMENT]) == 1
        assert store.append_measurements([other]) == 0
        assert store.append_measurements([MEASUREMENT, other], each_unit=True) == 1
        assert store.append_measurements([other], each_unit=True) == 0
        units = {each.device: each for each in (MEASUREMENT, other)}
        assert store.unit_measurements(*KNOWN) == {MEASUREMENT.kernel: units}


def test_runs_of_two_devices_are_two_runs(path: Path) -> None:
    other = replace(RUN, device="x86-64-v3.unit-02")
    with Store(path) as store:
        assert store.append_runs([RUN, other, RUN]) == 2
        assert store.runs("n" * 64, *KNOWN) == (RUN, other)


def test_what_happened_to_devices_is_told_in_order_for_one_and_for_all(path: Path) -> None:
    other = replace(EVENT, device="x86-64-v3.unit-02", kind="joined", reason="", facts={})
    earlier = replace(EVENT, kind="released", at_s=EVENT.at_s - 1)
    with Store(path) as store:
        assert store.append_device_events([EVENT, other, earlier]) == 3
        assert store.append_device_events([EVENT]) == 1
        assert store.device_events() == (EVENT, other, earlier, EVENT)
    with Store(path, readonly=True) as store:
        assert store.device_events(EVENT.device) == (EVENT, earlier, EVENT)
        assert store.device_events(other.device) == (other,)
        assert store.device_events("x86-64-v3.unit-03") == ()


def test_an_event_of_an_unknown_kind_or_time_is_refused() -> None:
    with pytest.raises(CostModelError, match=r"exploded.*joined, lost"):
        replace(EVENT, kind="exploded")
    with pytest.raises(CostModelError, match="nan is no time"):
        replace(EVENT, at_s=float("nan"))


def test_readings_of_one_network_or_of_all_are_told_in_order(path: Path) -> None:
    other = replace(READING, network="m" * 64)
    elsewhere = replace(READING, configuration='[["int8 u8>u8"],[[[4,4]]]]')
    with Store(path) as store:
        assert store.append_context_readings([READING, other, elsewhere, READING]) == 3
        assert store.append_context_readings([READING], force=True) == 1
        assert store.context_readings(*KNOWN) == (READING, other, elsewhere, READING)
        assert store.context_readings(*KNOWN, network="m" * 64) == (other,)
        assert store.context_readings("x86-64-v4", *KNOWN[1:]) == ()


def test_a_reading_is_told_without_its_clock() -> None:
    assert READING.median_s == pytest.approx(1.5e-5 - 2.5e-8)
    assert replace(READING, seconds=(0.0, 2e-8, 2e-8)).median_s > 0
    with pytest.raises(CostModelError, match="no readings"):
        replace(READING, seconds=())
    with pytest.raises(CostModelError, match=r"layer conv1.*nan is no time"):
        replace(READING, clock_s=float("nan"))


def make_schema(version: int, path: Path) -> None:
    """The same store as an older schema left it: without the tables that came later."""
    with Store(path) as store:
        store.append_measurements([MEASUREMENT])
    with sqlite3.connect(path) as connection:
        for table in (DEVICE_EVENTS, CONTEXT_READINGS):
            if table.since > version:
                connection.execute(f"DROP TABLE {table.name}")
        forget_later_columns(connection)
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()


def forget_later_columns(connection: sqlite3.Connection) -> None:
    for table in TABLES:
        for column in table.added:
            connection.execute(f"ALTER TABLE {table.name} DROP COLUMN {column}")


def test_evaluations_of_an_older_schema_are_kept_and_newer_ones_say_more(path: Path) -> None:
    with Store(path) as store:
        store.append_evaluations([EVALUATION])
    with sqlite3.connect(path) as connection:
        forget_later_columns(connection)
        connection.execute("PRAGMA user_version = 3")
    connection.close()
    newer = replace(EVALUATION, configuration="{}", gained=3, lost=5)
    of = (EVALUATION.network, EVALUATION.samples, EVALUATION.versions)
    with Store(path, readonly=True) as reader:
        assert reader.evaluations(*of) == {EVALUATION.configuration: EVALUATION}
        with Store(path) as writer:
            assert writer.append_evaluations([newer]) == 1
        found = reader.evaluations(*of)
    assert found == {EVALUATION.configuration: EVALUATION, "{}": newer}
    assert found["{}"].turned == (3, 5)
    assert found[EVALUATION.configuration].turned is None


@pytest.mark.parametrize("version", [1, 2])
def test_a_store_of_an_older_schema_keeps_its_rows_and_gains_what_came_later(
    path: Path, version: int
) -> None:
    make_schema(version, path)
    with Store(path) as store:
        assert store.append_device_events([EVENT]) == 1
        assert store.append_context_readings([READING]) == 1
        assert store.append_measurements([MEASUREMENT]) == 0
    with Store(path, readonly=True) as store:
        assert store.measurements(*KNOWN) == {MEASUREMENT.kernel: MEASUREMENT}
        assert store.device_events() == (EVENT,)
        assert store.context_readings(*KNOWN) == (READING,)
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute("DELETE FROM device_events")
    connection.close()


def test_a_store_of_schema_1_is_read_as_it_is(path: Path) -> None:
    make_schema(1, path)
    before = path.read_bytes()
    with Store(path, readonly=True) as reader:
        assert reader.device_events() == ()
        assert reader.context_readings(*KNOWN) == ()
        counts = {"measurements": 1, "evaluations": 0, "runs": 0, "device_events": 0, "context_readings": 0}
        assert reader.count() == counts
        assert path.read_bytes() == before
        with Store(path) as writer:
            writer.append_device_events([EVENT])
        assert reader.device_events() == (EVENT,)


def test_a_batch_with_a_wrong_record_leaves_nothing_behind(path: Path) -> None:
    wrong = replace(MEASUREMENT, kernel="wrong", number="ten")  # type: ignore[arg-type]
    with Store(path) as store:
        with pytest.raises(StoreError, match="append"):
            store.append_measurements([MEASUREMENT, wrong])
        assert store.count()["measurements"] == 0
        assert store.append_measurements([MEASUREMENT]) == 1


@pytest.mark.parametrize("statement", ["UPDATE runs SET peak_bytes = 1", "DELETE FROM runs"])
def test_the_file_itself_refuses_to_be_changed(path: Path, statement: str) -> None:
    with Store(path) as store:
        store.append_runs([RUN])
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)
    connection.close()


def test_a_second_writer_is_told_who_the_first_is(path: Path) -> None:
    with Store(path), pytest.raises(StoreError, match=f"process {os.getpid()}") as refusal:
        Store(path)
    assert str(path) in str(refusal.value)
    with Store(path) as store:
        assert store.append_measurements([MEASUREMENT]) == 1


def test_a_reader_sees_what_a_writer_at_work_has_committed(path: Path) -> None:
    with Store(path) as writer, Store(path, readonly=True) as reader:
        assert reader.count()["measurements"] == 0
        writer.append_measurements([MEASUREMENT])
        assert reader.measurements(*KNOWN) == {MEASUREMENT.kernel: MEASUREMENT}
        with pytest.raises(StoreError, match="readonly"):
            reader.append_measurements([replace(MEASUREMENT, kernel="another")])


APPEND_FOREVER = """
import sys
from dataclasses import replace
from itertools import count
from cost_model.measurement import Measurement
from cost_model.store import Store
store = Store(sys.argv[1])
one = Measurement("", "c", "t", "v", "c.u", 1, (1e-5,) * 30, True)
for batch in count():
    store.append_measurements([replace(one, kernel=f"{batch} {index}") for index in range(50)])
    print(batch + 1, flush=True)
"""


def start(script: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", script, path], cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("acknowledged", [1, 7])
def test_a_killed_writer_loses_nothing_committed_and_leaves_no_half_batch(
    path: Path, acknowledged: int
) -> None:
    writer = start(APPEND_FOREVER, path)
    assert writer.stdout is not None
    while int(writer.stdout.readline()) < acknowledged:
        pass
    writer.send_signal(signal.SIGKILL)
    # What it still said before it died was committed as well.
    said = writer.communicate()[0].split()
    with Store(path) as store:
        found = len(store.measurements("c", "t", "v"))
    assert found % 50 == 0
    assert found >= 50 * int(said[-1] if said else acknowledged)


FILL_THE_DISK = """
import resource, sys
from cost_model.device_event import DeviceEvent
from cost_model.errors import CostModelError, StoreError
from cost_model.measurement import Measurement
from cost_model.store import Store
store = Store(sys.argv[1])
store.append_measurements([Measurement("first", "c", "t", "v", "c.u", 1, (1e-5,), True)])
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    store.append_measurements([Measurement("second", "c", "t", "v", "c.u", 1, (1e-5,) * 100_000, True)])
except StoreError as error:
    print(error)
"""


def test_a_full_disk_is_explained_and_costs_nothing_committed(path: Path) -> None:
    output, _ = start(FILL_THE_DISK, path).communicate()
    assert str(path) in output
    assert "everything committed before is kept" in output
    with Store(path) as store:
        assert list(store.measurements("c", "t", "v")) == ["first"]


def test_a_file_that_is_no_database_is_named_and_left_alone(path: Path) -> None:
    path.write_text("layer,latency\n" * 100)
    with pytest.raises(StoreError, match=r"store\.sqlite.*not a database.*another path|give the path"):
        Store(path)
    assert path.read_text() == "layer,latency\n" * 100


def test_another_programs_database_is_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        Store(path)
    assert path.read_bytes() == before


def test_a_damaged_store_is_not_written_to(path: Path) -> None:
    with Store(path) as store:
        store.append_measurements([replace(MEASUREMENT, kernel=f"{index}") for index in range(500)])
    content = bytearray(path.read_bytes())
    content[8192:40960] = b"\xa5" * (40960 - 8192)
    path.write_bytes(bytes(content))
    with pytest.raises(StoreError, match="restore it from a copy"):
        Store(path)


@pytest.mark.parametrize(("version", "advice"), [(99, "upgrade BlinkNet"), (0, "move it away")])
def test_another_schema_is_refused(path: Path, version: int, advice: str) -> None:
    Store(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    with pytest.raises(StoreError, match=f"schema {version}.*{advice}"):
        Store(path)
    with pytest.raises(StoreError, match=f"schema {version}"):
        Store(path, readonly=True)


def test_a_missing_store_and_a_missing_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store at"):
        Store(tmp_path / "absent.sqlite", readonly=True)
    with pytest.raises(StoreError, match="folder that exists"):
        Store(tmp_path / "absent" / "store.sqlite")


def test_a_refused_store_leaves_no_lock_behind(path: Path) -> None:
    path.write_text("no database" * 100)
    with pytest.raises(StoreError):
        Store(path)
    path.unlink()
    with Store(path) as store:
        assert store.count()["runs"] == 0
