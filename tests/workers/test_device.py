"""Driving a real device through a real tracker: what comes back when all goes well, and when it does not."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from network.approximations import catalogue
from network.onnx_import import load
from network.samples import Samples
from network.target import Target
from tests.network.onnx_files import normal
from tests.small_network import Small
from tests.tracker.models import DIE, DOUBLE, MATMUL, SLEEP, build_kernels
from tests.workers.test_build import assembled, requests
from tracker.address import Address
from tracker.device import Description, DeviceKey
from tracker.failure import Failure
from tracker.timing import Timing, TimingPolicy, TimingRequest
from workers.accuracy import Bench, exact_answers
from workers.build import Executable, Library, assemble_executable, build
from workers.device import DeviceDriver, RunResult

POLICY = TimingPolicy(budget_s=0.02, deadline_s=2.0)
FUNCTIONS = {"matmul": MATMUL, "double": DOUBLE, "die": DIE, "sleep": SLEEP}


@pytest.fixture
def driver(tracker: Address, device: DeviceKey) -> DeviceDriver:
    return DeviceDriver(tracker, device)


@pytest.fixture
def nobody(tracker: Address) -> DeviceDriver:
    return DeviceDriver(tracker, DeviceKey("lab", "nobody"))


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """Functions that work, one that aborts and one that hangs; each its own request."""
    path = build_kernels(tmp_path_factory.mktemp("kernels") / "kernels.so")
    return Library(path.read_bytes(), {each: each for each in (*FUNCTIONS, "again", "missing")}, {})


def arguments(*names: str) -> Mapping[str, object]:
    more = {"again": MATMUL, "missing": TimingRequest("missing", ())}
    return {each: (FUNCTIONS | more)[each].arguments for each in names}


def test_it_says_what_the_device_is(driver: DeviceDriver):
    assert isinstance(driver.describe(), Description)


def test_every_request_of_a_library_gets_its_timing(small: Small, driver: DeviceDriver):
    wanted = requests(small)
    isa = Target.host().isa
    library = build(list(wanted.values()), Target.host(), ())
    specs = {key: kernel.arguments(isa) for key, (kernel, _) in wanted.items()}
    result = driver.measure(library, specs, POLICY)
    assert (result.culprit, result.failure) == (None, None)
    assert list(result.timings) == list(wanted)
    for key, timing in result.timings.items():
        assert isinstance(timing, Timing)
        assert timing.symbol == library.symbols[key]
        assert min(timing.seconds) > 0


def test_only_what_is_asked_for_is_measured(driver: DeviceDriver, library: Library):
    assert list(driver.measure(library, arguments("double"), POLICY).timings) == ["double"]


@pytest.mark.parametrize(("deadly", "kind"), [("die", "crash"), ("sleep", "timeout")])
def test_what_ends_the_session_is_named_and_what_came_before_is_kept(
    driver: DeviceDriver, library: Library, deadly: str, kind: str
):
    result = driver.measure(library, arguments("matmul", deadly, "double"), POLICY)
    assert list(result.timings) == ["matmul"]
    assert result.culprit == deadly
    assert result.failure is not None
    assert (result.failure.kind, result.failure.device) == (kind, str(driver.key))
    after = driver.measure(library, arguments("double"), POLICY)
    assert isinstance(after.timings["double"], Timing)


def test_a_request_that_the_device_refuses_is_a_result(driver: DeviceDriver, library: Library):
    result = driver.measure(library, arguments("missing", "double"), POLICY)
    refused = result.timings["missing"]
    assert isinstance(refused, Failure)
    assert refused.kind == "refused"
    assert result.culprit is None
    assert isinstance(result.timings["double"], Timing)


def test_a_library_that_is_none_blames_no_request(driver: DeviceDriver):
    result = driver.measure(Library(b"no library", {"double": "double"}, {}), arguments("double"), POLICY)
    assert result.culprit is None
    assert not any(isinstance(each, Timing) for each in result.timings.values())
    assert result.failure is not None or isinstance(result.timings["double"], Failure)
    assert isinstance(driver.describe(), Description)


def test_a_device_that_is_not_there_is_a_failure(small: Small, nobody: DeviceDriver, library: Library):
    exact = assembled(small, "exact f32>f32")
    described, measured = nobody.describe(), nobody.measure(library, arguments("double"), POLICY)
    ran = nobody.run(exact, exact, small.samples.inputs, [(4,)], 10)
    for each in (described, measured.failure, ran):
        assert isinstance(each, Failure)
        assert (each.kind, each.device) == ("unreachable", "lab.nobody")
    assert (dict(measured.timings), measured.culprit) == ({}, None)


def test_a_configuration_runs_beside_the_exact_one(small: Small, bench: Bench, driver: DeviceDriver):
    exact = assembled(small, "exact f32>f32")
    result = driver.run(exact, exact, small.samples.inputs, [(4,)], 15)
    assert isinstance(result, RunResult)
    assert len(result.seconds) == len(result.exact_seconds) >= 15
    assert min(*result.seconds, *result.exact_seconds) > 0
    assert result.peak_bytes >= exact.parameter_bytes
    expected = exact_answers(bench, small.samples.inputs, ())
    np.testing.assert_allclose(result.answers, expected, rtol=1e-4, atol=1e-5)


def test_a_configuration_that_dies_of_its_memory_limit_needs_more_and_the_device_lives_on(
    small: Small, driver: DeviceDriver
):
    exact = assembled(small, "exact f32>f32")
    arguments = (exact, exact, [small.samples.x[:3]], [(4,)], 6)
    alone = driver.run(*arguments)
    assert isinstance(alone, RunResult)
    roomy = driver.run(*arguments, limit_bytes=2 * alone.peak_bytes)
    assert isinstance(roomy, RunResult)
    assert roomy.peak_bytes == pytest.approx(alone.peak_bytes, abs=1 << 15)
    narrow = driver.run(*arguments, limit_bytes=exact.parameter_bytes)
    assert isinstance(narrow, RunResult)
    assert narrow.peak_bytes > exact.parameter_bytes
    assert len(narrow.seconds) == len(alone.seconds)
    assert isinstance(driver.describe(), Description)


def test_a_limit_is_not_what_a_broken_library_died_of(small: Small, driver: DeviceDriver):
    exact = assembled(small, "exact f32>f32")
    broken = Executable(b"no library", exact.parameters, 0, 0)
    outcome = driver.run(broken, exact, [small.samples.x[:3]], [(4,)], 6, limit_bytes=1 << 30)
    assert isinstance(outcome, Failure)


def test_the_answers_are_the_candidate_s(small: Small, driver: DeviceDriver):
    exact = assembled(small, "exact f32>f32")
    halved = Executable(exact.library, tuple((name, each / 2) for name, each in exact.parameters), 0, 0)
    result = driver.run(halved, exact, [small.samples.x[:3]], [(4,)], 1)
    assert isinstance(result, RunResult)
    reference = driver.run(exact, exact, [small.samples.x[:3]], [(4,)], 1)
    assert isinstance(reference, RunResult)
    assert result.answers[0].shape == (3, 4)
    assert not np.allclose(result.answers[0], reference.answers[0], rtol=0.05)


def test_two_views_and_two_answers_cross_to_the_device(tmp_path: Path, driver: DeviceDriver):
    nodes = [
        helper.make_node("Conv", ["left", "w"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["right", "w"], ["c"]),
        helper.make_node("Einsum", ["b", "c"], ["map"], equation="nchw,nchw->nchw"),
        helper.make_node("GlobalAveragePool", ["map"], ["p"]),
        helper.make_node("Flatten", ["p"], ["row"]),
    ]
    views = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 3, 5, 4)) for name in ("left", "right")
    ]
    ends = [
        helper.make_tensor_value_info("row", TensorProto.FLOAT, (1, 4)),
        helper.make_tensor_value_info("map", TensorProto.FLOAT, (1, 4, 3, 2)),
    ]
    weights = [numpy_helper.from_array(normal(4, 3, 3, 3), "w")]
    graph = helper.make_graph(nodes, "pair", views, ends, weights)
    opsets = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "pair.onnx")
    network = load(tmp_path / "pair.onnx")
    samples = Samples(normal(7, 3, 5, 4), np.zeros(7, np.int64), (normal(7, 3, 5, 4),))
    known = catalogue(network, samples, [])
    isa = Target.host().isa
    fitted = {each.name: known.fitted(known.alone(each.name, "exact")) for each in network.layers}
    tiles = [[step.kernel.tiles(isa)[0] for step in each.steps] for each in fitted.values()]
    executable = assemble_executable(network, fitted, tiles, Target.host(), ())
    outputs = [each.shape for each in network.outputs]
    result = driver.run(executable, executable, samples.inputs, outputs, 3)
    assert isinstance(result, RunResult)
    session = onnxruntime.InferenceSession(tmp_path / "pair.onnx")
    for index, (left, right) in enumerate(zip(*samples.inputs, strict=True)):
        theirs = session.run(None, {"left": left[np.newaxis], "right": right[np.newaxis]})
        for mine, wanted in zip(result.answers, theirs, strict=True):
            np.testing.assert_allclose(mine[index], wanted[0], rtol=1e-4, atol=1e-5)


def test_an_executable_that_is_none_is_a_failure(small: Small, driver: DeviceDriver):
    exact = assembled(small, "exact f32>f32")
    broken = Executable(b"no library", exact.parameters, 0, 0)
    assert isinstance(driver.run(broken, exact, small.samples.inputs, [(4,)], 10), Failure)
    assert isinstance(driver.describe(), Description)


def test_nothing_is_left_in_the_temporary_folder(
    driver: DeviceDriver, library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    driver.measure(library, arguments("matmul", "die"), POLICY)
    assert list(tmp_path.glob("blinknet-device-*")) == []
