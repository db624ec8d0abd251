import re
from fractions import Fraction
from pathlib import Path

import pytest

from cluster.goal import Goal
from cluster.settings import SettingsError, load_run_file
from runtime.bounds import Bounds
from tracker.address import Address

EXAMPLES = Path(__file__).parents[2] / "examples"
MINIMAL = """\
name: quick
network: model.onnx
samples:
  calibration: data/calibration.npz
  evaluation: data/evaluation.npz
devices:
  x86-64-v3:
    bounds: {latency: 20%, memory: 60%, loss: 1pp}
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "data").mkdir()
    for name in ("model.onnx", "data/calibration.npz", "data/evaluation.npz"):
        (tmp_path / name).touch()
    return tmp_path


def load(folder: Path, text: str):
    path = folder / "run.yaml"
    path.write_text(text)
    return load_run_file(path)


def message(folder: Path, text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(folder, text)
    return str(caught.value).replace(str(folder), "FOLDER")


def test_a_minimal_file_has_defaults_and_paths_beside_it(folder):
    run = load(folder, MINIMAL)
    assert run.network == folder / "model.onnx"
    assert run.samples.evaluation == folder / "data/evaluation.npz"
    assert run.devices["x86-64-v3"].bounds == Bounds.parse({"latency": "20%", "memory": "60%", "loss": "1pp"})
    assert run.tracker == "embedded"
    assert run.approximations is None
    assert (run.verify.runs, run.measure.predicted_share, run.samples.scale) == (1000, 0.25, 1.0)
    assert run.measure.context


@pytest.mark.parametrize("bound", ["loss: 1pp", "accuracy: 90%"])
def test_an_objective_goes_with_a_bound_on_what_is_lost(folder, bound):
    assert load(folder, MINIMAL).devices["x86-64-v3"].goal.objective == "loss"
    run = load(folder, MINIMAL.replace("loss: 1pp}", f"{bound}}}\n    objective: storage"))
    device = run.devices["x86-64-v3"]
    assert device.goal == Goal(device.bounds, "storage")
    assert str(device.goal).startswith("least storage, latency=20%@p95, memory=60%, ")


def test_everything_can_be_stated(folder):
    run = load(
        folder,
        MINIMAL.replace("  evaluation", "  scale: 0.5\n  offset: -1\n  evaluation")
        + """\
    target: {mcpu: x86-64-v3, mattr: [+avx512vnni]}
approximations: [int8, lowrank]
degrees: ["1/2", "1/4"]
tracker: farm:9190
measure: {relative_ci: 0.01, budget_s: 1, predicted_share: 0, context: false}
accuracy: {fit_samples: 100, samples: 200}
verify: {runs: 59, rounds: 1, confidence: 0.95, headroom: 0.1}
""",
    )
    assert (run.samples.scale, run.samples.offset) == (0.5, -1.0)
    assert run.devices["x86-64-v3"].target.mattr == ("+avx512vnni",)
    assert run.degrees == (Fraction(1, 2), Fraction(1, 4))
    assert run.tracker == Address("farm", 9190)
    assert (run.measure.budget_s, run.accuracy.samples, run.verify.rounds) == (1.0, 200, 1)
    assert not run.measure.context


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("name:", "nmae:", 1, "nmae is no key here; did you mean 'name'? allowed: name, network"),
        ("name: quick\n", "", 1, "name is missing"),
        ("name: quick", "name: a.b", 1, "name is no name; use letters"),
        ("model.onnx", "modle.onnx", 2, "network names FOLDER/modle.onnx, which is no file"),
        ("network: model.onnx", "network: 3", 2, "network is 3; name a file"),
        ("  evaluation", "  evalution", 5, "samples.evalution is no key here; did you mean 'evaluation'?"),
        ("    bounds", "    bonds", 8, "devices.x86-64-v3.bonds is no key here; did you mean 'bounds'?"),
        ("latency: 20%", "latncy: 20%", 8, "bounds.latncy is no key here; did you mean 'latency'?"),
        ("latency: 20%", "latency: 20", 8, "bounds.latency is wrong: latency 20 has no unit; write '20%'"),
        ("{latency: 20%, memory: 60%, loss: 1pp}", "{}", 8, "bounds states nothing; write for"),
        ("20%", "20%@p99.9", 8, "asks for percentile 99.9 of x86-64-v3 from 1000 runs; write 2995 or more"),
        (", loss: 1pp}", "}\n    objective: memory", 9, "objective is memory, and no bound says how"),
        ("    bounds", "    objective: speed\n    bounds", 8, "'speed' is no objective here; allowed: loss"),
        ("x86-64-v3", "rpi:4", 7, "devices.rpi:4 is no name; use letters"),
    ],
)  # fmt: skip
def test_an_error_names_file_line_key_and_what_is_allowed(folder, old, new, line, words):
    told = message(folder, MINIMAL.replace(old, new, 1))
    assert words in told
    assert re.search(rf"run\.yaml:{line}: |^  line {line}: ", told, re.MULTILINE)


@pytest.mark.parametrize(
    ("added", "words"),
    [
        ("verify: {runs: many}", "run.yaml:9: verify.runs is 'many': input should be a valid integer"),
        (
            "verify:\n  runs: 100\n  rounds: 0",
            "run.yaml:11: verify.rounds is 0: input should be greater than or equal",
        ),
        (
            "verify: {runs: 58}",
            "run.yaml:9: verify.runs asks for percentile 95 of x86-64-v3 from 58 runs; write 59 or more",
        ),
        ("measure: {predicted_share: 1.0}", "measure.predicted_share is 1.0"),
        ("tracker: 9190", "run.yaml:9: tracker is 9190; write embedded, or HOST:PORT such as"),
        ("degrees: [1/2, 3/2]", "degrees[1] is '3/2'; write a fraction between 0 and 1"),
        ("degrees:\n- 0.5", "run.yaml:10: degrees[0] is 0.5; write a fraction between 0 and 1 in quotes"),
        ("approximations: int8", "approximations is no list; write [one, another]"),
        (
            "approximations:\n- int8\n- lowrnk",
            "run.yaml:11: approximations[1] 'lowrnk' is no method here; did you mean",
        ),
        ("measure: 3", "measure holds no keys"),
    ],
)
def test_a_wrong_value_is_named_with_its_line(folder, added, words):
    assert words in message(folder, MINIMAL + added)


def test_several_errors_are_listed_by_line(folder):
    told = message(folder, MINIMAL.replace("name", "nam").replace("20%", "20").replace("1pp", "1%"))
    assert re.findall(r"^  line (\d+): (\S+)", told, re.MULTILINE) == [
        ("1", "nam"),
        ("1", "name"),
        ("8", "devices.x86-64-v3.bounds.latency"),
        ("8", "devices.x86-64-v3.bounds.loss"),
    ]
    assert told.startswith("FOLDER/run.yaml has 4 errors")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "run.yaml is empty"),
        ("name: [a", "run.yaml:1: no YAML:"),
        ("name: a\nname: b", "run.yaml:2: name is stated twice, first on line 1; keep one"),
        ("? [a]\n: b", "no YAML"),
        ("- a", "run.yaml:1: the file holds no keys"),
        ("\x00", "no YAML"),
    ],
)
def test_what_is_no_run_file_is_told_so(folder, text, words):
    assert words in message(folder, text)


def test_a_missing_file_or_a_binary_one_is_told_so(folder):
    with pytest.raises(
        SettingsError, match=r"nowhere\.yaml cannot be read: No such file or directory; check the path"
    ):
        load_run_file(folder / "nowhere.yaml")
    (folder / "binary.yaml").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(SettingsError, match="no text in UTF-8"):
        load_run_file(folder / "binary.yaml")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*/run.yaml")), ids=lambda path: path.parent.name)
def test_the_examples_are_run_files(path):
    assert load_run_file(path).devices


def test_settings_do_not_change(folder):
    run = load(folder, MINIMAL)
    with pytest.raises(ValueError, match="frozen"):
        run.name = "other"


def test_units_share_a_configuration_unless_the_file_says_otherwise(folder):
    run = load(folder, MINIMAL)
    assert (run.devices["x86-64-v3"].configuration, run.measure.common_requests) == ("class", 6)
    run = load(folder, MINIMAL + "    configuration: unit\nmeasure: {common_requests: 3}\n")
    assert (run.devices["x86-64-v3"].configuration, run.measure.common_requests) == ("unit", 3)
    assert "'each' is no way to share here; allowed: class, unit" in message(
        folder, MINIMAL + "    configuration: each\n"
    )
    assert "measure.common_requests" in message(folder, MINIMAL + "measure: {common_requests: -1}\n")
