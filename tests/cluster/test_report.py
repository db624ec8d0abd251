import io
import re
from dataclasses import replace
from itertools import pairwise
from random import Random
from xml.etree import ElementTree

import pytest
from rich.console import Console

from cluster.device_result import DeviceResult, from_yaml, to_yaml
from cluster.outputs import RunRecord
from cluster.report import Evidence, KernelEstimate, compute, formats, frontier, prediction, render
from cluster.report.svg import Scale
from cluster.summary import certificate_table
from runtime.bounds import Bounds
from runtime.configuration import Certificate, Configuration, Costs, LayerChoice

EXACT = Costs(3.1e-4, 1_250_000, 600_000, 0.0, 0.9109)
INT8 = Costs(7.6e-5, 700_000, 200_000, 0.05, 0.9104)
CHOSEN = Costs(5.9e-5, 690_000, 180_000, 0.7, 0.9039)
NAMES = ("input", "conv1", "pool1", "conv2", "pool2", "conv3", "pool3", "ip1", "ip2")
EXACT_US = (1.2, 44.0, 6.5, 121.0, 4.2, 98.0, 2.2, 8.9, 0.6)
GIVEN = (
    "int8", "int8", "int8", "int8+lowrank(1/2)", "int8",
    "int8+channels(1/2)", "int8", "int8+lowrank(3/8)", "exact",
)  # fmt: skip


def configuration(device_class: str, methods: tuple[str, ...], speedup: float, costs: Costs) -> Configuration:
    layers = (
        LayerChoice(
            layer=name,
            approximation=method,
            reads="f32" if method == "exact" else "u8",
            writes="f32" if method == "exact" else "u8/16",
            tiles=((8, 1),),
            latency_s=us * 1e-6 / (1 if method == "exact" else speedup),
            parameter_bytes=0 if name.startswith(("pool", "input")) else int(us * 900 / speedup),
            divergence=1e-4,
            measured=name != "conv2" or method == "exact",
        )
        for name, method, us in zip(NAMES, methods, EXACT_US, strict=True)
    )
    return Configuration("cifar10_quick", "ab" * 32, device_class, "local", "llvm", tuple(layers), costs)


def certificate(device: str, costs: Costs) -> Certificate:
    return Certificate(
        verdict="holds",
        device=device,
        runs=300,
        percentile=95.0,
        confidence=0.95,
        latency_s=costs.latency_s * 1.02,
        median_s=costs.latency_s * 0.95,
        exact_latency_s=EXACT.latency_s,
        exact_median_s=EXACT.latency_s * 0.96,
        peak_bytes=costs.peak_bytes,
        exact_peak_bytes=EXACT.peak_bytes,
        storage_bytes=costs.storage_bytes,
        exact_storage_bytes=EXACT.storage_bytes,
        accuracy=0.9043,
        exact_accuracy=0.9109,
        loss_pp=0.66,
        samples=10_000,
        rounds=2,
        issued="2026-01-31",
        versions={"tvm": "0.27.0.post1", "blinknet": "0.1.0"},
    )


def evidence(
    device_class: str = "x86-64-v3", stated: dict[str, str] | None = None, seed: int = 3
) -> Evidence:
    rng = Random(seed)
    bounds = Bounds.parse(stated or {"latency": "20%", "memory": "60%", "loss": "1pp"})
    chosen = configuration(device_class, GIVEN, 4.4, CHOSEN)
    points = []
    for index in range(24):
        latency = 4e-5 * (3.1e-4 / 4e-5) ** (index / 23)
        loss = max(0.0, 1.4 * ((7e-5 / latency) ** 2.6) - 0.02) * rng.uniform(0.92, 1.25)
        points.append(Costs(latency, int(600_000 + 650_000 * rng.random() * latency / 3.1e-4), 180_000, loss))
    kernels = []
    for index in range(140):
        measured = 10 ** rng.uniform(-6.2, -3.8)
        held_out = index % 4 == 0
        wrong = rng.gauss(0, 0.09 if held_out else 0.03)
        kernels.append(
            KernelEstimate(
                f"conv2d {index} <8,1>", measured * (1 + wrong), measured, held_out, measured * (1.1 + wrong)
            )
        )
    return Evidence(
        result=DeviceResult(
            chosen, bounds, bounds.resolve(EXACT), certificate(chosen.device, CHOSEN), nearest={}
        ),
        cpu="AMD EPYC 9R14",
        exact=configuration(device_class, ("exact",) * 9, 1, EXACT),
        references={"exact": EXACT, "int8": INT8},
        frontier=tuple(points),
        kernels=tuple(kernels),
    )


def infeasible() -> Evidence:
    some = evidence(
        "x86-64-v2", {"latency": "5%@p99", "memory": "50%", "storage": "128KiB", "accuracy": "91%"}
    )
    result = some.result
    broken = replace(result.certificate, verdict="best effort")
    nearest = {"latency": 4.1e-5, "memory": None, "loss": 2.31}
    return replace(some, result=replace(result, certificate=broken, nearest=nearest))


RECORD = RunRecord(
    name="quick",
    run_file="cifar10_quick.yaml",
    network="cifar10_quick",
    network_sha256="ab" * 32,
    tracker="embedded",
    store="out/quick/measurements.sqlite",
    started="2026-01-31 10:00",
    finished="2026-01-31 10:02",
    verdicts={"x86-64-v3.local": "holds"},
    versions={"tvm": "0.27.0.post1", "ray": "2.60.0"},
)


@pytest.fixture
def info():
    return compute(RECORD, [evidence(), infeasible()])


def parsed(page: str) -> ElementTree.Element:
    return ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>\n"))  # noqa: S314


def test_tiles_compare_what_was_verified_with_the_bounds(info):
    latency, memory, storage, loss = info.devices[0].bounds
    assert latency.stated == "20%@p95"
    assert latency.limit == pytest.approx(62e-6)
    assert latency.reached == pytest.approx(CHOSEN.latency_s * 1.02)
    assert (memory.kept, storage.limit, loss.reached) == (True, None, 0.66)


def test_a_bound_that_is_missed_is_seen(info):
    kept = {each.quantity: each.kept for each in info.devices[1].bounds}
    assert kept == {"latency": False, "memory": False, "storage": False, "loss": False}
    assert render(info).count('class="tile broken"') == 4


def test_every_device_is_told_with_its_objective():
    some = evidence("x86-64-v4")
    fastest = replace(some, result=replace(some.result, objective="latency"))
    page = render(compute(RECORD, [evidence(), fastest]))
    assert page.index("least loss inside the bounds") < page.index("least latency inside the bounds")


def test_the_closing_table_states_the_objective():
    some = evidence().result
    console = Console(file=io.StringIO(), width=200)
    console.print(certificate_table([some, replace(some, objective="memory")]))
    usual, smallest = console.file.getvalue().splitlines()[1:]
    assert "  latency=20%@p95, memory=60%, loss=1pp  " in usual
    assert "  least memory, latency=20%@p95, memory=60%, loss=1pp  " in smallest


def test_the_frontier_shows_what_matters_and_counts_the_rest(info):
    shown = info.devices[0].frontier
    assert shown.points[-1].kind == "chosen"
    assert {each.kind for each in shown.points} == {"frontier", "exact", "int8", "chosen"}
    losses = [each.loss_pp for each in evidence().frontier]
    assert shown.beyond == sum(loss > shown.highest_loss_pp for loss in losses) > 0
    assert len(shown.points) + shown.beyond == len(losses) + 3


def test_the_envelope_has_no_point_that_a_faster_one_beats(info):
    envelope = info.devices[0].frontier.envelope
    assert len(envelope) > 3
    for faster, slower in pairwise(envelope):
        assert faster.latency_s < slower.latency_s
        assert faster.loss_pp > slower.loss_pp


def test_layers_are_compared_one_by_one(info):
    rows = info.devices[0].layers.rows
    assert [each.layer for each in rows] == list(NAMES)
    conv2 = rows[3]
    assert (conv2.approximation, conv2.forms, conv2.measured) == ("int8+lowrank(1/2)", "u8 → u8/16", False)
    assert conv2.exact_latency_s == pytest.approx(121e-6)
    assert info.devices[0].layers.slowest_s == pytest.approx(121e-6)


def test_the_error_is_that_of_kernels_never_seen():
    seen = KernelEstimate("seen", 1e-6, 1e-6, held_out=False, bound_s=2e-6)
    held_out = [
        KernelEstimate(str(each), (1 + each) * 1e-6, 1e-6, held_out=True, bound_s=(1.1 + each) * 1e-6)
        for each in (0.1, -0.2, 0.6)
    ]
    told = prediction.prediction_info([*held_out, seen])
    assert told.median_error == pytest.approx(0.2)
    assert told.mean_error == pytest.approx(0.3)
    assert told.kernels[0] is seen
    assert "not seen the 3 coloured ones: there its median error is 20.0%" in prediction.summary(told)
    assert told.coverage == pytest.approx(2 / 3)
    assert "66.7% do not exceed their bounds, of which 90.0% is promised" in prediction.summary(told)
    assert "no honest error" in prediction.summary(prediction.prediction_info([seen]))
    assert prediction.prediction_info([]) is None


def test_every_point_is_drawn_once_inside_the_frame(info):
    shown = info.devices[0].frontier
    picture = ElementTree.fromstring(frontier.render(shown))  # noqa: S314
    _, _, width, height = map(float, picture.get("viewBox").split())
    groups = [each for each in picture.iter("g") if each.get("class", "").startswith("point")]
    assert len(groups) == len(shown.points)
    for circle in picture.iter("circle"):
        assert 0 < float(circle.get("cx")) < width
        assert 0 < float(circle.get("cy")) < height


def test_the_page_is_well_formed_and_loads_nothing(info):
    page = render(info)
    root = parsed(page)
    assert [each.get("id") for each in root.iter("section")] == ["x86-64-v3.local", "x86-64-v2.local"]
    assert "http" not in page.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not [each for each in root.iter() if each.get("src") or each.tag == "link"]
    assert not re.search(r"url\(|@import", page)


def test_the_page_says_what_happened(info):
    text = " ".join(parsed(render(info)).itertext()).replace("\u00a0", " ")
    assert "✓ bounds hold" in text
    assert "✗ infeasible, best effort" in text
    assert "nearest feasible would be: latency 41.0 µs, or loss 2.31 pp. Giving way on memory alone" in text
    assert "With 95% confidence, 95% of runs take at most 60.2 µs" in text
    assert "Accuracy was counted on 10,000 samples" in text


def test_every_figure_of_an_emulated_device_says_so():
    real = evidence()
    configuration = replace(real.result.configuration, emulated=True)
    certificate = replace(real.result.certificate, emulated=True)
    result = replace(real.result, configuration=configuration, certificate=certificate)
    page = render(compute(RECORD, [replace(real, result=result)]))
    titles = re.findall(r"<h3>(.*?)</h3>", page)
    assert titles
    assert all("(emulated)" in each for each in titles)
    assert page.count('class="badge open">emulated<') == 2
    assert "says nothing about a real board" in page
    assert "emulated" not in render(compute(RECORD, [real]))
    screen = Console(file=io.StringIO(), width=200)
    screen.print(certificate_table([result]))
    told = screen.file.getvalue()
    assert "x86-64-v3.local (emulated)" in told
    assert "emulated runs" in told
    assert from_yaml(to_yaml(result)) == result
    assert "emulated: true" in to_yaml(result)


def test_what_users_named_is_escaped():
    page = render(compute(replace(RECORD, name="<script>alert(1)</script>"), [evidence()]))
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_the_same_run_gives_the_same_bytes(info):
    assert render(info) == render(compute(RECORD, [evidence(), infeasible()]))


def test_a_device_without_certificate_bounds_or_predictions_still_has_a_page():
    some = evidence()
    bounds = Bounds.parse({"storage": "50%"})
    result = replace(some.result, certificate=None, bounds=bounds, limits=bounds.resolve(EXACT))
    bare = replace(some, result=result, kernels=(), frontier=())
    device = compute(RECORD, [bare]).devices[0]
    assert device.verdict == "unverified"
    assert device.prediction is None
    assert device.bounds[0].reached == CHOSEN.latency_s
    page = render(compute(replace(RECORD, finished=None), [bare]))
    assert "○ not verified" in page
    assert "not finished" in page
    assert 'class="feasible"' not in page
    parsed(page)


def test_a_run_without_devices_has_a_page():
    parsed(render(compute(RECORD, [])))


@pytest.mark.parametrize(
    ("scale", "ticks"),
    [
        (Scale(0, 0.31, 0, 1), (0.0, 0.1, 0.2, 0.3)),
        (Scale(-0.1, 2.5, 0, 1), (0.0, 0.5, 1.0, 1.5, 2.0, 2.5)),
        (Scale(0, 1, 0, 1), (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        (Scale(0.8, 30, 0, 1, logarithmic=True), (1.0, 2.0, 5.0, 10.0, 20.0)),
        (Scale(0.8, 3000, 0, 1, logarithmic=True), (1.0, 10.0, 100.0, 1000.0)),
    ],
)
def test_ticks_are_round_and_inside(scale, ticks):
    assert scale.ticks() == pytest.approx(ticks)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (formats.duration(61.23e-6), "61.2 µs"),
        (formats.duration(2.31e-3), "2.31 ms"),
        (formats.duration(1.5), "1,500 ms"),
        (formats.duration(0.31e-6), "0.310 µs"),
        (formats.size(900), "900 B"),
        (formats.size(1_250_000), "1.19 MiB"),
        (formats.share(0.197), "19.7%"),
        (formats.moment("2026-01-31T10:00:00+00:00"), "2026-01-31 10:00:00 UTC"),
    ],
)
def test_numbers_read_well(text, expected):
    assert text.replace("\u00a0", " ") == expected


def test_marked_measurements_are_told() -> None:
    page = render(compute(RECORD, [replace(evidence(), marks="2 of its 140 measurements are marked: 2 hot")]))
    assert "2 of its 140 measurements are marked: 2 hot." in page
