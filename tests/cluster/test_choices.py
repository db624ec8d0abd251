"""What ``blinknet configure`` answers from: the same as the run would, from one file a device."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from cluster.choices import Choices, read_choices, write_choices
from cluster.configure import configure
from cluster.errors import ClusterError
from cluster.goal import Goal, Objective
from cluster.model import problem_of
from cluster.outputs import OutputError, RunFolder, RunRecord, prepare, write_run
from cluster.planning import ClassPlan
from cluster.problem import Infeasible, Solution
from cost_model.accuracy import approximation_of
from runtime.bounds import Bounds, parse_bound
from tests.cluster.worlds import Truth, World

STATED = Bounds.parse({"latency": "80%", "loss": "10pp"})
RECORD = RunRecord("quick", "quick.yaml", "small", "ab", "embedded", "m.sqlite", "2026-01-31", None, {}, {})


@pytest.fixture(scope="module")
def choices(plan: ClassPlan) -> Choices:
    world = World(Truth(21, plan.table, noise=0.0), STATED)
    assert world.walk().verdict == "holds"
    knowledge = world.knowledge()
    problem = problem_of(plan.table, knowledge)
    return Choices("lab.one", STATED, knowledge.runs[0].exact, 0.05, problem, knowledge.accuracy.curve)


@pytest.fixture
def folder(tmp_path: Path, choices: Choices) -> RunFolder:
    made = prepare(tmp_path, "quick")
    write_run(made, RECORD)
    for device in ("lab.one", "lab.two", "farm.one"):
        write_choices(made, replace(choices, device=device))
    return made


def answered(choices: Choices, **bounds: str) -> Solution:
    answer = choices.answer(Goal(Bounds.parse(bounds)))
    assert isinstance(answer, Solution)
    return answer


def shown(
    folder: RunFolder, *bounds: str, objective: Objective | None = None, device: str | None = None
) -> tuple[int, str]:
    console = Console(file=io.StringIO(), width=200)
    code = configure(folder.path, [parse_bound(each) for each in bounds], objective, device, console)
    return code, console.file.getvalue()


def test_choices_are_read_back_as_written(folder: RunFolder, choices: Choices):
    assert read_choices(folder) == tuple(
        replace(choices, device=each) for each in ("farm.one", "lab.one", "lab.two")
    )


def test_answers_keep_the_bounds_with_headroom(choices: Choices):
    for latency in ("90%", "70%", "60%"):
        costs = choices.costs(answered(choices, latency=latency, loss="20pp"))
        assert costs.latency_s <= 0.95 * float(latency[:-1]) / 100 * choices.exact.latency_s
        assert costs.loss_pp <= 20


def test_without_pressure_the_answer_is_exact(choices: Choices):
    answer = answered(choices, latency="1000%")
    assert {approximation_of(each) for each in answer.variants} == {"exact"}
    costs = choices.costs(answer)
    assert (costs.loss_pp, costs.accuracy) == (0, choices.exact.accuracy)


def test_less_time_is_paid_with_loss(choices: Choices):
    losses = [
        choices.costs(answered(choices, latency=each, loss="50pp")).loss_pp
        for each in ("1000%", "70%", "60%")
    ]
    assert losses == sorted(losses)


def test_what_is_infeasible_names_bounds_that_are_feasible(choices: Choices):
    answer = choices.answer(Goal(Bounds.parse({"latency": "0.1%", "loss": "20pp"})))
    assert isinstance(answer, Infeasible)
    nearest = choices.nearest(answer)
    assert set(nearest) == {"latency", "loss"}
    assert nearest["latency"] is not None
    assert answered(choices, latency=f"{nearest['latency'] * 1.001:.12f}s", loss="20pp")


def test_all_bounds_may_give_way_together(choices: Choices):
    goal = Goal(Bounds.parse({"latency": "5%", "memory": "60%", "loss": "0.01pp"}))
    answer = choices.answer(goal)
    assert isinstance(answer, Infeasible)
    wider = choices.widened(goal, answer)
    assert set(wider) == {"latency", "memory", "loss"}

    def with_share(share: float) -> Solution | Infeasible:
        of = {name: bound / (1 + (answer.stretch or 0.0)) * (1 + share) for name, bound in wider.items()}
        of["loss"] = choices.curve.loss_pp(choices.target_limits(goal).divergence * (1 + share))
        texts = {
            "latency": f"{of['latency']:.15f}s",
            "memory": f"{of['memory']:.3f}B",
            "loss": f"{of['loss']}pp",
        }
        return choices.answer(Goal(Bounds.parse(texts)))

    assert isinstance(with_share((answer.stretch or 0.0) * 1.01), Solution)
    assert isinstance(with_share((answer.stretch or 0.0) * 0.97), Infeasible)


def test_devices_of_one_target_share_a_bundle(folder: RunFolder, choices: Choices):
    for device, target in (("lab.one", "v2"), ("lab.two", "v2"), ("farm.one", "v4")):
        write_choices(folder, replace(choices, device=device, target=target))
    console = Console(file=io.StringIO(), width=200)
    assert configure(folder.path, [], None, None, console, fewest=True) == 0
    text = console.file.getvalue()
    assert "lab.one lab.two" in text
    assert "2 bundles for 3 devices" in text


def test_the_fewest_bundles_name_devices_that_none_helps(folder: RunFolder):
    console = Console(file=io.StringIO(), width=200)
    assert configure(folder.path, [parse_bound("latency=0.01%")], None, None, console, fewest=True) == 1
    assert "lab.one: no configuration keeps its bounds" in console.file.getvalue()
    with pytest.raises(ClusterError, match="--objective loss"):
        configure(folder.path, [], "memory", None, console, fewest=True)


def test_configure_shows_every_device(folder: RunFolder):
    code, text = shown(folder)
    assert code == 0
    assert [device in text for device in ("lab.one", "lab.two", "farm.one")] == [True] * 3
    assert "latency=80%@p95, loss=10pp" in text
    assert "predicted from measurements; `blinknet run` with these bounds verifies on the device" in text


@pytest.mark.parametrize(("device", "others"), [("lab", "farm.one"), ("farm.one", "lab.one")])
def test_configure_shows_one_class_or_one_device(folder: RunFolder, device: str, others: str):
    _, text = shown(folder, device=device)
    assert device in text
    assert others not in text


def test_bounds_replace_those_of_the_same_kind(folder: RunFolder):
    code, text = shown(folder, "latency=90%@p99", "memory=2MiB")
    assert code == 0
    assert "latency=90%@p99, memory=2MiB, loss=10pp" in text
    assert "p99" in text


@pytest.mark.parametrize("objective", ["latency", "memory", "storage"])
def test_an_objective_is_paid_with_all_of_the_loss_that_is_allowed(choices: Choices, objective: Objective):
    bounds = Bounds.parse({"loss": "5pp"})
    least_loss, cheapest = (choices.answer(Goal(bounds, each)) for each in ("loss", objective))
    assert isinstance(least_loss, Solution)
    assert isinstance(cheapest, Solution)
    before, after = choices.costs(least_loss), choices.costs(cheapest)
    assert Goal(bounds, objective).cost(after) < Goal(bounds, objective).cost(before)
    assert before.loss_pp <= after.loss_pp <= 5


def test_an_objective_replaces_that_of_the_run(folder: RunFolder):
    code, text = shown(folder, "latency=1000%", objective="storage", device="lab.one")
    assert code == 0
    assert "least storage, latency=1000%@p95, loss=10pp" in text


def test_an_objective_without_a_bound_on_what_is_lost(folder: RunFolder, choices: Choices):
    write_choices(folder, replace(choices, bounds=Bounds.parse({"latency": "80%"})))
    with pytest.raises(ClusterError, match=r"objective of lab\.one is memory, and no bound says how much"):
        shown(folder, objective="memory", device="lab.one")


def test_infeasible_bounds_are_told_so(folder: RunFolder):
    code, text = shown(folder, "latency=0.1%", device="lab.one")
    assert code == 1
    assert "predicted best effort" in text
    assert "lab.one: INFEASIBLE; with the other bounds kept, the nearest feasible: latency" in text


def test_a_device_that_the_run_does_not_have(folder: RunFolder):
    with pytest.raises(ClusterError, match=r"has no device rpi4; `ls .*configs` shows those it has"):
        shown(folder, device="rpi4")


def test_a_run_that_did_not_end(tmp_path: Path):
    started = prepare(tmp_path, "quick")
    write_run(started, RECORD)
    with pytest.raises(OutputError, match=r"has no choices yet: the run did not end; start it again"):
        shown(started)


@pytest.mark.parametrize("text", ["", "{}", '{"device": 3}', "[1]"])
def test_a_changed_file_is_refused(folder: RunFolder, text: str):
    (folder.path / "choices" / "lab.one.json").write_text(text)
    with pytest.raises(
        OutputError, match=r"lab\.one\.json is not what BlinkNet wrote .*run `blinknet run` again"
    ):
        read_choices(folder)
