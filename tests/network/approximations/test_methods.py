"""Each method on data of which the right answer is known."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from network.approximations import Context, variants
from network.layers import Layer
from network.quantization import calibrate
from network.reference import run_layer, run_steps

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


def fitted(layer, x, name):
    """The float32 variant of that name and the exact outputs."""
    y = run_layer(layer, x)
    context = Context(x, y, calibrate(x), calibrate(y), last=False)
    keys = {each.key: each for each in variants(layer, context)}
    return keys.get(f"{name} f32>f32"), y


def relative(y, exact):
    return float(np.square(y - exact).mean() / exact.var())


@pytest.mark.parametrize("relu", [False, True])
def test_low_rank_finds_a_layer_that_has_low_rank(relu):
    weight = np.einsum("or,rykc->oykc", RNG.normal(size=(32, 8)), RNG.normal(size=(8, 3, 3, 16)))
    layer = conv(weight, relu=relu)
    x = RNG.normal(size=(40, 8, 8, 16)).astype(np.float32)
    variant, exact = fitted(layer, x, "lowrank(1/4)")
    assert [step.kernel.output_channels for step in variant.steps] == [8, 32]
    assert relative(run_steps(variant.steps, x), exact) < 1e-6


def test_low_rank_follows_the_data_not_the_weights():
    """Full-rank weights on inputs of which few directions vary."""
    layer = conv(RNG.normal(size=(32, 1, 1, 32)))
    x = RNG.normal(size=(40, 8, 8, 8)).astype(np.float32) @ RNG.normal(size=(8, 32)).astype(np.float32)
    variant, exact = fitted(layer, x, "lowrank(1/4)")
    assert relative(run_steps(variant.steps, x), exact) < 1e-6


@pytest.mark.parametrize("relu", [False, True])
def test_channels_that_repeat_others_go_and_are_made_up_for(relu):
    own = RNG.normal(size=(60, 8, 8, 8))
    mixed = np.concatenate([own, own @ RNG.normal(size=(8, 8)) + 2], axis=3)
    x = mixed[..., RNG.permutation(16)].astype(np.float32)
    layer = conv(RNG.normal(size=(12, 1, 1, 16)), relu=relu)
    variant, exact = fitted(layer, x, "channels(1/2)")
    kernel, parameters = variant.steps[0].kernel, variant.steps[0].parameters
    assert kernel.selected == 8
    assert (np.diff(parameters["index"]) > 0).all()
    assert relative(run_steps(variant.steps, x), exact) < 1e-4


def test_channels_that_say_nothing_go_first():
    x = RNG.normal(size=(60, 8, 8, 16)).astype(np.float32)
    quiet = np.arange(1, 16, 2)
    x[..., quiet] *= 0.01
    variant, _ = fitted(conv(RNG.normal(size=(12, 3, 3, 16))), x, "channels(1/2)")
    assert set(variant.steps[0].parameters["index"]).isdisjoint(quiet)


@pytest.mark.parametrize("name", ["rows=2", "cols=2", "rows=2,cols=2"])
def test_perforation_interpolates_outputs_that_are_planes(name):
    """Of odd size, so that every skipped sample lies between kept ones."""
    slopes = RNG.normal(size=(50, 3, 1, 1, 32))
    rows, columns = np.mgrid[:9, :7][..., None]
    x = (slopes[:, 0] + slopes[:, 1] * rows + slopes[:, 2] * columns).astype(np.float32)
    layer = conv(RNG.normal(size=(8, 1, 1, 32)), (9, 7))
    variant, exact = fitted(layer, x, f"perforate({name})")
    assert relative(run_steps(variant.steps, x), exact) < 1e-5


def test_perforation_keeps_what_it_computes_and_the_variance_of_the_rest():
    layer = conv(RNG.normal(size=(8, 1, 1, 32)), (8, 6))
    rough = RNG.normal(size=(80, 10, 6, 32))
    x = (rough[:, :-2] + rough[:, 1:-1] + rough[:, 2:]).astype(np.float32)
    variant, exact = fitted(layer, x, "perforate(rows=2)")
    y = run_steps(variant.steps, x)
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
    y = run_layer(layer, x)
    context = Context(x, y, calibrate(x), calibrate(y), last)
    variant = next(each for each in variants(layer, context, ["int8"]) if each.key == "int8 u8>f32")
    error = run_steps(variant.steps, context.input_qparams.quantize(x)) - y
    spread = error.std(axis=(0, 1, 2))
    assert (np.abs(error.mean(axis=(0, 1, 2))) < 0.05 * spread).all()


@pytest.mark.parametrize(
    ("layer", "absent"),
    [
        (conv(RNG.normal(size=(8, 3, 3, 1))), "channels"),
        (conv(RNG.normal(size=(8, 3, 3, 4)), (1, 1)), "perforate"),
        (conv(RNG.normal(size=(4, 3, 3, 8))), "lowrank"),
    ],
)
def test_methods_that_save_nothing_do_not_apply(layer, absent):
    x = RNG.normal(size=(20, *layer.input_shape)).astype(np.float32)
    y = run_layer(layer, x)
    found = variants(layer, Context(x, y, calibrate(x), calibrate(y), last=False))
    assert found
    assert not [each for each in found if absent in each.approximation]


def test_degrees_that_keep_as_many_are_offered_once():
    layer = conv(RNG.normal(size=(16, 3, 3, 8)))
    x = RNG.normal(size=(20, *layer.input_shape)).astype(np.float32)
    y = run_layer(layer, x)
    context = Context(x, y, calibrate(x), calibrate(y), last=False)
    degrees = [Fraction(1, 2), Fraction(3, 7), Fraction(2, 3)]
    found = variants(layer, context, ["channels"], degrees)
    assert {each.approximation for each in found} == {"exact", "channels(1/2)"}


def test_sensitivity_decides_what_low_rank_keeps():
    layer = conv(RNG.normal(size=(16, 1, 1, 16)))
    x = RNG.normal(size=(60, 8, 8, 16)).astype(np.float32)
    y = run_layer(layer, x)
    context = Context(x, y, calibrate(x), calibrate(y), last=False)
    vital = np.diag([1.0] * 4 + [1e-3] * 12)
    errors = []
    for each in (context, replace(context, sensitivity=vital)):
        found = {variant.key: variant for variant in variants(layer, each, ["lowrank"])}
        low = run_steps(found["lowrank(1/4) f32>f32"].steps, x)
        errors.append(np.square(low - y)[..., :4].mean())
    assert errors[1] < 0.3 * errors[0]
