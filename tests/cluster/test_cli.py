"""Wrong input: exit code 2, one message that says what, where and what next, and nothing left half done."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cluster.cli import main
from cost_model.store import Store
from tests.cluster.jobs import ROOT, Job, tiny_network, write_job
from tests.network.onnx_files import CONV, HEAD, chain, normal, save
from tracker.agent import AgentProcess
from tracker.device import DeviceKey
from tracker.tracker import TrackerProcess

NOBODY = "127.0.0.1:9"
"""The discard port: nothing listens there."""

Refused = Callable[..., str]


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is wrong here is found before Ray starts."""

    def started() -> None:
        raise AssertionError("Ray would have been started")

    monkeypatch.setattr("cluster.crew.connect", started)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return write_job(tmp_path, "x86-64-v2", network=tiny_network(tmp_path / "tiny.onnx"))


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    def run(*arguments: str) -> str:
        """The one message with which these arguments are refused."""
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith("blinknet: ")
        assert error.count("blinknet: ") == 1
        assert "Traceback" not in error
        return error.removeprefix("blinknet: ").strip()

    return run


def rewrite(job: Job, old: str, new: str) -> None:
    text = job.run_file.read_text()
    assert old in text
    job.run_file.write_text(text.replace(old, new))


def leavings(job: Job) -> set[str]:
    """Files in the output folder, an empty store aside."""
    files = {each for each in job.out.rglob("*") if each.is_file()}
    if job.store in files:
        with Store(job.store, readonly=True) as store:
            assert not any(store.count().values())
    return {each.name for each in files} - {job.store.name, f"{job.store.name}.lock"}


NETWORKS = {
    "broken": (lambda path: path.write_bytes(b"no network"), [r"not a valid ONNX file", r"export it again"]),
    "empty": (lambda path: path.write_bytes(b""), [r"not a valid ONNX file"]),
    "operator": (
        lambda path: save(
            path, chain(CONV, ("Det", [], {}), *HEAD), {"w": normal(4, 1, 3, 3)}, shape=(1, 1, 28, 28)
        ),
        [r"node t1 \(Det, opset 17\)", r"Conv", r"Relu", r"MaxPool"],
    ),
}


@pytest.mark.parametrize("case", NETWORKS)
def test_a_network_that_cannot_be_imported(job: Job, refused: Refused, case: str) -> None:
    write, patterns = NETWORKS[case]
    write(job.run_file.parent / "tiny.onnx")
    message = refused(*job.arguments)
    assert all(re.search(pattern, message) for pattern in patterns), message
    assert not leavings(job)


@pytest.mark.parametrize("name", ["tiny.onnx", "evaluation.npz", "calibration.npz"])
def test_a_file_that_is_missing(job: Job, refused: Refused, name: str) -> None:
    (job.run_file.parent / name).unlink()
    message = refused(*job.arguments)
    assert re.match(rf"{re.escape(str(job.run_file))}:\d+: \S+ names \S+{re.escape(name)}, which", message)
    assert not job.out.exists()


X, Y = np.zeros((6, 1, 28, 28), np.uint8), np.arange(6)
ARRAYS = {
    "layout": (
        {"x": X.reshape(6, 28, 28, 1), "y": Y},
        r"x has shape \(6, 28, 28, 1\).*reads \(n, 1, 28, 28\)",
    ),
    "number": ({"x": X, "y": Y[:5]}, r"y has shape \(5,\); 6 samples need labels"),
    "class": ({"x": X, "y": Y + 5}, r"labels in array y go from 5 to 10; .* classes 0 to 9"),
    "fraction": ({"x": X, "y": Y / 2}, r"must be whole numbers"),
    "name": ({"images": X, "y": Y}, r"has no array x \(it has: images, y\)"),
    "nothing": ({"x": X[:0], "y": Y[:0]}, r"holds no samples"),
    "text": ({"x": X.astype(str), "y": Y}, r"array x has type <U\d+; it must be numeric"),
    "infinite": ({"x": np.full(X.shape, np.inf), "y": Y}, r"not finite"),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_that_do_not_fit(job: Job, refused: Refused, case: str) -> None:
    arrays, pattern = ARRAYS[case]
    np.savez(job.run_file.parent / "evaluation.npz", **arrays)
    message = refused(*job.arguments)
    assert "evaluation.npz" in message
    assert re.search(pattern, message), message
    assert not leavings(job)


def test_a_file_that_holds_no_arrays(job: Job, refused: Refused) -> None:
    (job.run_file.parent / "calibration.npz").write_text("pictures")
    assert re.search(r"calibration\.npz cannot be read as \.npz", refused(*job.arguments))


SETTINGS = {
    "key": ("verify:", "verfy:", r"verfy is no key here; did you mean 'verify'\?"),
    "nested key": ("budget_s", "budget", r"measure\.budget is no key here; did you mean 'budget_s'\?"),
    "bound": ("latency: 80%", "latncy: 80%", r"latncy is no key here; did you mean 'latency'\?"),
    "unit": ("80%@p50", "80pp", r"latency is wrong: .*has the unit 'pp'; write"),
    "method": ("[int8,", "[int9,", r"'int9' is no method here; did you mean 'int8'\?"),
    "degree": ('"1/2"', '"3/2"', r"is '3/2'; write a fraction between 0 and 1"),
    "value": ("rounds: 2", "rounds: 0", r"verify\.rounds is 0: .*greater than or equal to 1"),
    "class": ("x86-64-v2:", "rpi:4:", r"is no name; use letters"),
    "percentile": (
        "80%@p50",
        "80%@p99",
        r"percentile 99 of x86-64-v2 from 100 runs; write \d+",
    ),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_a_run_file_that_says_something_impossible(job: Job, refused: Refused, case: str) -> None:
    old, new, pattern = SETTINGS[case]
    rewrite(job, old, new)
    message = refused(*job.arguments)
    assert re.match(rf"{re.escape(str(job.run_file))}:\d+: ", message), message
    assert re.search(pattern, message), message
    assert not job.out.exists()


def test_the_line_of_an_error_is_the_one_it_stands_on(job: Job, refused: Refused) -> None:
    rewrite(job, "rounds: 2", "rounds: 0")
    line = next(n for n, text in enumerate(job.run_file.read_text().splitlines(), 1) if "rounds" in text)
    assert refused(*job.arguments).startswith(f"{job.run_file}:{line}: ")


def test_a_run_file_that_is_not_there(tmp_path: Path, refused: Refused) -> None:
    assert re.search(r"none\.yaml cannot be read: No such file", refused("run", str(tmp_path / "none.yaml")))


def test_an_output_folder_that_cannot_be_made(job: Job, refused: Refused) -> None:
    job.out.write_text("in the way")
    assert re.search(r"small cannot be written: .*; name another folder with --out", refused(*job.arguments))
    assert job.out.read_text() == "in the way"


def test_a_run_that_is_under_way_elsewhere(job: Job, refused: Refused) -> None:
    job.folder.mkdir(parents=True)
    with Store(job.store):
        assert re.search(r"is being written by process \d+", refused(*job.arguments))


def test_a_store_that_is_none(job: Job, refused: Refused) -> None:
    job.folder.mkdir(parents=True)
    job.store.write_text("something else, long enough to be taken for a database " * 20)
    assert "measurements.sqlite" in refused(*job.arguments)
    assert job.store.read_text().startswith("something else")


def test_no_tracker_at_the_address(job: Job, refused: Refused) -> None:
    message = refused(*job.arguments, "--tracker", NOBODY)
    assert re.search(rf"no TVM tracker answers at {NOBODY} .*`blinknet tracker` starts one", message)
    assert not leavings(job)


def test_an_address_that_is_none(job: Job, refused: Refused) -> None:
    assert "write it like 127.0.0.1:9190" in refused(*job.arguments, "--tracker", "9190")


def test_a_class_that_has_bounds_and_no_device(
    job: Job, refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ray_config.yaml").write_text("metadata: {blinknet: {patience_s: 0}}\n")
    monkeypatch.chdir(tmp_path)
    with TrackerProcess.start() as tracker, AgentProcess.start(tracker.address, DeviceKey("lab", "one")):
        message = refused(*job.arguments, "--tracker", str(tracker.address))
    assert f"the tracker at {tracker.address} has no device of class x86-64-v2; register one with" in message
    assert f"`blinknet device --tracker {tracker.address} --key x86-64-v2.UNIT`" in message
    assert not leavings(job)


def test_a_class_of_which_this_machine_has_no_device(job: Job, refused: Refused) -> None:
    rewrite(job, "x86-64-v2:", "rpi4:")
    message = refused(*job.arguments)
    assert "an embedded fleet has no class rpi4" in message
    assert "--tracker HOST:PORT" in message


def test_a_demo_that_there_is_none_of(refused: Refused) -> None:
    assert "choose from aarch64" in refused("demo", "--emulate", "z80")


def test_no_linker(
    job: Job, refused: Refused, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("nothing")))
    monkeypatch.setattr("network.link.find_spec", lambda _: None)
    message = refused(*job.arguments)
    assert "nothing here links shared libraries" in message
    assert "pip install 'blinknet[cross]'" in message
    assert not leavings(job)


@pytest.mark.parametrize("command", ["configure", "verify"])
def test_a_folder_that_is_no_run(tmp_path: Path, refused: Refused, command: str) -> None:
    message = refused(command, str(tmp_path))
    assert f"{tmp_path} is no run: it has no run.json; name OUT/RUN of `blinknet run`" in message


@pytest.mark.parametrize("command", ["configure", "verify"])
def test_a_record_that_is_damaged(tmp_path: Path, refused: Refused, command: str) -> None:
    (tmp_path / "run.json").write_text("{")
    assert re.search(r"run\.json|no choices yet", refused(command, str(tmp_path)))


BOUNDS = {
    "latncy=20%": r"no bound is called 'latncy'; did you mean 'latency'\?",
    "speed=20%": r"no bound is called 'speed'; there are latency, memory, storage, loss, accuracy",
    "latency": r"has no '='; write for example latency=20%",
    "latency=fast": r"latency 'fast' cannot be read; write",
    "accuracy=120%": r"is above 100%",
}


@pytest.mark.parametrize("bound", BOUNDS)
def test_a_bound_that_nobody_knows(tmp_path: Path, refused: Refused, bound: str) -> None:
    assert re.search(BOUNDS[bound], refused("configure", str(tmp_path), "--bound", bound))


KEYS = {"a:b": "has a colon", "a b.c": "has a blank", "a": "has no dot between class and unit"}


@pytest.mark.parametrize("key", KEYS)
def test_a_key_that_is_none(refused: Refused, key: str) -> None:
    message = refused("device", "--tracker", NOBODY, "--key", key)
    assert KEYS[key] in message
    assert "write CLASS.UNIT" in message


def test_cores_that_do_not_exist(refused: Refused) -> None:
    assert "cannot use cores [99999]" in refused(
        "device", "--tracker", NOBODY, "--key", "a.b", "--cores", "99999"
    )


def test_no_tracker_to_list_devices_of(refused: Refused) -> None:
    assert f"no TVM tracker answers at {NOBODY}" in refused("devices", "--tracker", NOBODY)


ARGUMENTS = {
    "cores": (["device", "--key", "a.b", "--cores", "one"], "'one' is no list of cores"),
    "level": (["device", "--key", "a.b", "--isa", "x86-64-v9"], "x86-64-v4"),
    "port": (["tracker", "--port", "99999"], "'99999' is no port"),
    "command": (["runn"], "invalid choice: 'runn'"),
    "nothing": ([], "COMMAND"),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_arguments_that_are_none(capsys: pytest.CaptureFixture[str], case: str) -> None:
    arguments, words = ARGUMENTS[case]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_an_error_of_our_own_stays_loud(monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: object, **named: object) -> int:
        raise ValueError("a bug")

    monkeypatch.setattr("cluster.configure.configure", bug)
    with pytest.raises(ValueError, match="a bug"):
        main(["configure", "."])


def test_the_module_is_the_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cluster", "configure", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"blinknet: {tmp_path} is no run")
    assert done.stderr.count("\n") == 1
