"""Each method on data of which the right answer is known."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from network.approximations import Context
from network.approximations.lowering import kernels
from network.approximations.registry import formats, methods
from network.approximations.stages import whole
from network.forward import run_layer
from network.layers import Layer
from network.quantization import calibrate
from network.reference import run_steps
from network.variants import Step

RNG = np.random.default_rng(21)


def conv(weight, size=(8, 8), *, relu=False) -> Layer:
    co, kh, kw, ci = weight.shape
    half = kh // 2
    return Layer(
        "l",
        "conv2d",
        ("input",),
        (*size, ci),
        (*size, co),
        kernel=(kh, kw),
        padding=(half, half, half, half),
        weight=weight.astype(np.float32),
        bias=RNG.normal(size=co).astype(np.float32),
        relu=relu,
    )


def context_of(layer, x, *, last=False):
    y = run_layer(layer, x)
    return Context(x, y, (calibrate(x),), calibrate(y), last)


def degrees_of(layer, context, method, degrees=None):
    """What the method offers: degree to stages."""
    return methods()[method].fit(whole(layer), context, degrees)


def fitted(layer, x, name):
    """The stages of that name and the exact outputs."""
    context = context_of(layer, x)
    method, degree = name.rstrip(")").split("(")
    return degrees_of(layer, context, method)[degree], context.outputs


def run(stages, x):
    for stage in stages:
        x = stage.run(x)
    return x


def relative(y, exact):
    return float(np.square(y - exact).mean() / exact.var())


@pytest.mark.parametrize("relu", [False, True])
def test_low_rank_finds_a_layer_that_has_low_rank(relu):
    weight = np.einsum("or,rykc->oykc", RNG.normal(size=(32, 8)), RNG.normal(size=(8, 3, 3, 16)))
    layer = conv(weight, relu=relu)
    x = RNG.normal(size=(40, 8, 8, 16)).astype(np.float32)
    stages, exact = fitted(layer, x, "lowrank(1/4)")
    assert [len(each.weight) for each in stages] == [8, 32]
    assert relative(run(stages, x), exact) < 1e-6


def test_low_rank_follows_the_data_not_the_weights():
    """Full-rank weights on inputs of which few directions vary."""
    layer = conv(RNG.normal(size=(32, 1, 1, 32)))
    x = RNG.normal(size=(40, 8, 8, 8)).astype(np.float32) @ RNG.normal(size=(8, 32)).astype(np.float32)
    stages, exact = fitted(layer, x, "lowrank(1/4)")
    assert relative(run(stages, x), exact) < 1e-6


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(("stride", "padding"), [((1, 1), (1, 1, 1, 1)), ((2, 1), (0, 2, 1, 0))])
def test_spatial_low_rank_finds_windows_that_are_separable(relu, stride, padding):
    columns, rows = RNG.normal(size=(8, 3, 16)), RNG.normal(size=(24, 3, 8))
    layer = conv(np.einsum("ryc,oxr->oyxc", columns, rows), relu=relu)
    shape = tuple((8 + sum(padding[axis::2]) - 3) // stride[axis] + 1 for axis in range(2))
    layer = replace(layer, stride=stride, padding=padding, output_shape=(*shape, 24))
    x = RNG.normal(size=(40, 8, 8, 16)).astype(np.float32)
    stages, exact = fitted(layer, x, "spatial(1/4)")
    assert [each.kernel for each in stages] == [(3, 1), (1, 3)]
    assert relative(run(stages, x), exact) < 1e-6


def test_spatial_low_rank_follows_the_data_not_the_weights():
    """Windows of full rank over images of which few channels differ."""
    layer = conv(RNG.normal(size=(16, 3, 3, 32)))
    x = RNG.normal(size=(40, 8, 8, 4)).astype(np.float32) @ RNG.normal(size=(4, 32)).astype(np.float32)
    stages, exact = fitted(layer, x, "spatial(1/2)")
    assert stages[0].output_shape[2] >= 12
    assert relative(run(stages, x), exact) < 1e-6


@pytest.mark.parametrize("degree", ["1/2", "1/4"])
def test_spatial_low_rank_keeps_its_share_of_the_operations(degree):
    layer = conv(RNG.normal(size=(48, 5, 5, 32)))
    stages, _ = fitted(layer, RNG.normal(size=(30, 8, 8, 32)).astype(np.float32), f"spatial({degree})")
    share = sum(each.operations for each in stages) / whole(layer).operations
    assert share == pytest.approx(float(Fraction(degree)), rel=0.1)


@pytest.mark.parametrize("relu", [False, True])
def test_channels_that_repeat_others_go_and_are_made_up_for(relu):
    own = RNG.normal(size=(60, 8, 8, 8))
    mixed = np.concatenate([own, own @ RNG.normal(size=(8, 8)) + 2], axis=3)
    x = mixed[..., RNG.permutation(16)].astype(np.float32)
    layer = conv(RNG.normal(size=(12, 1, 1, 16)), relu=relu)
    stages, exact = fitted(layer, x, "channels(1/2)")
    assert len(stages[0].index) == 8
    assert (np.diff(stages[0].index) > 0).all()
    assert relative(run(stages, x), exact) < 1e-4


def test_channels_that_say_nothing_go_first():
    x = RNG.normal(size=(60, 8, 8, 16)).astype(np.float32)
    quiet = np.arange(1, 16, 2)
    x[..., quiet] *= 0.01
    stages, _ = fitted(conv(RNG.normal(size=(12, 3, 3, 16))), x, "channels(1/2)")
    assert set(stages[0].index).isdisjoint(quiet)


PATTERNS = ["rows=2", "cols=2", "rows=2,cols=2", "rows=3", "cols=3", "rows=4", "cols=4"]
CHECKERS = ["checker=2", "checker=3", "checker=4"]


@pytest.mark.parametrize("name", ["rows=2", "cols=2", "rows=2,cols=2"])
def test_filter_sampling_makes_up_for_pixels_that_repeat_others(name):
    """Images that are planes: what is skipped is the mean of what lies on either side."""
    steps = [2 if f"{axis}=2" in name else 1 for axis in ("rows", "cols")]
    layer = conv(RNG.normal(size=(8, 5, 5, 6)))
    rows, columns = np.mgrid[:8, :8][..., None]
    slopes = RNG.normal(size=(60, 3, 1, 1, 6))
    x = (slopes[:, 0] + slopes[:, 1] * rows + slopes[:, 2] * columns).astype(np.float32)
    layer = replace(layer, padding=(0, 0, 0, 0), output_shape=(4, 4, 8))
    stages, exact = fitted(layer, x, f"taps({name})")
    assert stages[0].kernel == tuple(5 // step + (step > 1) for step in steps)
    assert relative(run(stages, x), exact) < 1e-5


def test_filter_sampling_is_no_worse_than_scaling_what_is_left():
    layer = conv(RNG.normal(size=(8, 3, 3, 6)), relu=True)
    rough = RNG.normal(size=(80, 10, 10, 6))
    x = sum(rough[:, i : i + 8, j : j + 8] for i in range(3) for j in range(3)).astype(np.float32)
    stages, exact = fitted(layer, x, "taps(rows=2,cols=2)")
    scaled = replace(stages[0], weight=whole(layer).weight[:, ::2, ::2] * 9 / 4, bias=layer.bias)
    assert relative(run(stages, x), exact) < 0.5 * relative(scaled.run(x), exact)


@pytest.mark.parametrize("name", PATTERNS)
def test_perforation_interpolates_outputs_that_are_planes(name):
    """Of a size such that every skipped sample lies between kept ones."""
    slopes = RNG.normal(size=(50, 3, 1, 1, 32))
    rows, columns = np.mgrid[:13, :13][..., None]
    x = (slopes[:, 0] + slopes[:, 1] * rows + slopes[:, 2] * columns).astype(np.float32)
    layer = conv(RNG.normal(size=(8, 1, 1, 32)), (13, 13))
    stages, exact = fitted(layer, x, f"perforate({name})")
    assert relative(run(stages, x), exact) < 1e-5


@pytest.mark.parametrize("size", [(12, 12), (13, 11)], ids=str)
@pytest.mark.parametrize("name", CHECKERS)
def test_a_checkerboard_computes_its_share_and_keeps_it(name, size):
    layer = conv(RNG.normal(size=(8, 3, 3, 8)), size)
    rough = RNG.normal(size=(40, size[0] + 2, size[1] + 2, 8))
    x = sum(rough[:, i : i + size[0], j : j + size[1]] for i in range(3) for j in range(3)).astype(np.float32)
    stages, exact = fitted(layer, x, f"perforate({name})")
    y, step = run(stages, x), int(name[-1])
    shift = 2 if step == 4 else 1
    for row in range(size[0]):
        first = row % (step // shift) * shift
        np.testing.assert_allclose(y[:, row, first::step], exact[:, row, first::step], atol=1e-3)
    assert stages[0].operations <= whole(layer).operations / step * (1 + step / size[1])


def test_perforation_bears_neighbours_that_never_change_and_others_that_are_the_same():
    """Two columns: what lies left is what lies right, and above and below is nothing."""
    weight = np.zeros((4, 3, 3, 4))
    weight[:, 1, 1] = np.eye(4)
    x = np.zeros((20, 8, 2, 4), np.float32)
    x[:, 2::2, 0] = RNG.normal(size=(20, 3, 4))
    layer = replace(conv(weight, (8, 2)), bias=np.zeros(4, np.float32))
    stages, exact = fitted(layer, x, "perforate(checker=2)")
    np.testing.assert_allclose(run(stages, x), exact, atol=1e-3)


def test_on_a_checkerboard_skipped_samples_have_nearer_neighbours():
    """Outputs as rough along rows as along columns."""
    layer = conv(RNG.normal(size=(8, 3, 3, 8)), (12, 12))
    rough = RNG.normal(size=(60, 14, 14, 8))
    x = sum(rough[:, i : i + 12, j : j + 12] for i in range(3) for j in range(3)).astype(np.float32)
    errors = {}
    for name in (*PATTERNS, *CHECKERS):
        stages, exact = fitted(layer, x, f"perforate({name})")
        errors[name] = relative(run(stages, x), exact)
    for step in "234":
        assert errors[f"checker={step}"] < min(errors[f"rows={step}"], errors[f"cols={step}"])


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("name", ["rows=3", *CHECKERS])
def test_perforated_kernels_compute_what_their_stages_do(name, dtype):
    """Strided, with a window that is not square, and of odd size."""
    layer = replace(
        conv(RNG.normal(size=(8, 3, 5, 6)), (9, 17), relu=True),
        output_shape=(9, 9, 8),
        stride=(1, 2),
        padding=(1, 2, 1, 2),
    )
    x = RNG.normal(size=(40, 9, 17, 6)).astype(np.float32)
    stages, _ = fitted(layer, x, f"perforate({name})")
    context, reads = context_of(layer, x), "float32" if dtype == "float32" else "uint8"
    number_format = formats()["exact" if dtype == "float32" else "int8"]
    parameters = number_format.parameters(stages, context, "float32")
    steps = [
        Step(*each)
        for each in zip(kernels(stages, reads, "float32", rectifies=False), parameters, strict=True)
    ]
    given = x if dtype == "float32" else context.input_qparams.quantize(x)
    assert relative(run_steps(steps, given), run(stages, x)) < (1e-9 if dtype == "float32" else 2e-3)


def test_perforation_keeps_what_it_computes_and_the_variance_of_the_rest():
    layer = conv(RNG.normal(size=(8, 1, 1, 32)), (8, 6))
    rough = RNG.normal(size=(80, 10, 6, 32))
    x = (rough[:, :-2] + rough[:, 1:-1] + rough[:, 2:]).astype(np.float32)
    stages, exact = fitted(layer, x, "perforate(rows=2)")
    y = run(stages, x)
    np.testing.assert_allclose(y[:, ::2], exact[:, ::2], atol=1e-4)
    filled, wanted = y[:, 1::2], exact[:, 1::2]
    axes = (0, 1, 2)
    np.testing.assert_allclose(filled.mean(axis=axes), wanted.mean(axis=axes), atol=1e-3)
    np.testing.assert_allclose(filled.var(axis=axes), wanted.var(axis=axes), rtol=1e-2)
    assert relative(filled, wanted) < relative(y[:, ::2], wanted)


@pytest.mark.parametrize("last", [False, True])
def test_int8_has_no_mean_error(last):
    """With inputs far from zero mean, rounded weights alone would shift every channel."""
    layer = conv(RNG.normal(size=(16, 3, 3, 8)))
    x = (RNG.normal(size=(64, 8, 8, 8)) + 6).astype(np.float32)
    context = context_of(layer, x, last=last)
    stages = (whole(layer),)
    parameters = formats()["int8"].parameters(stages, context, "float32")
    steps = [
        Step(*each)
        for each in zip(kernels(stages, "uint8", "float32", rectifies=False), parameters, strict=True)
    ]
    error = run_steps(steps, context.input_qparams.quantize(x)) - context.outputs
    spread = error.std(axis=(0, 1, 2))
    assert (np.abs(error.mean(axis=(0, 1, 2))) < 0.05 * spread).all()


@pytest.mark.parametrize(
    ("layer", "absent"),
    [
        (conv(RNG.normal(size=(8, 3, 3, 1))), "channels"),
        (conv(RNG.normal(size=(8, 3, 3, 4)), (1, 1)), "perforate"),
        (conv(RNG.normal(size=(4, 3, 3, 8))), "lowrank"),
        (conv(RNG.normal(size=(16, 1, 1, 16))), "spatial"),
        (conv(RNG.normal(size=(16, 1, 1, 16))), "taps"),
    ],
)
def test_methods_that_save_nothing_do_not_apply(layer, absent):
    x = RNG.normal(size=(20, *layer.input_shape)).astype(np.float32)
    assert not degrees_of(layer, context_of(layer, x), absent)


@pytest.mark.parametrize("method", sorted(methods()))
def test_every_method_bears_inputs_that_are_all_zero(method):
    """As behind a ReLU that is never reached."""
    layer = conv(RNG.normal(size=(16, 3, 3, 16)), relu=True)
    x = np.zeros((20, 8, 8, 16), np.float32)
    context = context_of(layer, x)
    found = degrees_of(layer, context, method)
    assert found
    for stages in found.values():
        np.testing.assert_allclose(run(stages, x), context.outputs, atol=1e-3)


def test_degrees_that_keep_as_many_are_offered_once():
    layer = conv(RNG.normal(size=(16, 3, 3, 8)))
    x = RNG.normal(size=(20, *layer.input_shape)).astype(np.float32)
    degrees = [Fraction(1, 2), Fraction(3, 7), Fraction(2, 3)]
    assert list(degrees_of(layer, context_of(layer, x), "channels", degrees)) == ["1/2"]


def test_sensitivity_decides_what_low_rank_keeps():
    layer = conv(RNG.normal(size=(16, 1, 1, 16)))
    x = RNG.normal(size=(60, 8, 8, 16)).astype(np.float32)
    context = context_of(layer, x)
    vital = np.diag([1.0] * 4 + [1e-3] * 12)
    errors = []
    for each in (context, replace(context, sensitivity=vital)):
        low = run(degrees_of(layer, each, "lowrank")["1/4"], x)
        errors.append(np.square(low - context.outputs)[..., :4].mean())
    assert errors[1] < 0.3 * errors[0]


@pytest.mark.parametrize(
    "name",
    [
        "channels(1/2)",
        "lowrank(1/2)",
        "spatial(1/2)",
        "taps(rows=2)",
        "perforate(cols=2)",
        "perforate(checker=2)",
    ],
)
def test_a_refit_to_its_own_data_changes_little(name):
    """Solving for the same inputs finds about the same stages, of the same shapes."""
    layer = conv(RNG.normal(size=(16, 3, 3, 8)), relu=True)
    rough = RNG.normal(size=(80, 10, 8, 8))
    x = (rough[:, :-2] + rough[:, 1:-1] + rough[:, 2:]).astype(np.float32)
    stages, exact = fitted(layer, x, name)
    method, context = methods()[name.split("(")[0]], context_of(layer, x)
    again = method.refit(stages, method.base(stages, whole(layer)), context)
    assert [each.output_shape for each in again] == [each.output_shape for each in stages]
    assert relative(run(again, x), exact) == pytest.approx(relative(run(stages, x), exact), rel=0.01)


def test_winograd_changes_nothing_but_the_work():
    layer = conv(RNG.normal(size=(24, 3, 3, 16)))
    x = RNG.normal(size=(8, 8, 8, 16)).astype(np.float32)
    base, context = whole(layer), context_of(layer, x)
    found = methods()["winograd"].fit(base, context, None)
    assert set(found) == {"2", "4"}
    for degree, (stage,) in found.items():
        np.testing.assert_array_equal(stage.run(x), base.run(x))
        assert stage.operations / base.operations == {"2": 4 / 9, "4": 1 / 4}[degree]
        assert stage.values > base.values
        (again,) = methods()["winograd"].refit((stage,), replace(base, bias=base.bias + 1), context)
        assert (again.winograd, again.bias[0]) == (stage.winograd, base.bias[0] + 1)


@pytest.mark.parametrize("shape", [(24, 3, 3, 8), (24, 1, 1, 16), (24, 5, 5, 16)])
def test_winograd_is_for_wide_layers_with_small_windows(shape):
    layer = conv(RNG.normal(size=shape))
    x = RNG.normal(size=(8, 8, 8, shape[3])).astype(np.float32)
    assert not methods()["winograd"].fit(whole(layer), context_of(layer, x), None)
