"""Number formats that store weights in fewer bits and compute in float32."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from network.approximations import catalogue
from network.approximations.lowering import kernels
from network.approximations.registry import formats
from network.approximations.stages import whole
from network.isas import x86_64_v3
from network.reference import run_steps
from network.variants import Form, Step
from tests.network.approximations.test_methods import context_of, conv, relative

STORED = {"bf16": (16, 1e-5), "w8": (8, 2e-4), "w4": (4, 3e-2)}
"""Bits of a weight, and the largest squared error as a share of the outputs' variance."""
ISA = x86_64_v3.ISA
RNG = np.random.default_rng(31)


def steps_of(layer, context, name, writes="float32"):
    chosen, stages = formats()[name], (whole(layer),)
    parameters = chosen.parameters(stages, context, writes)
    pairs = zip(kernels(stages, "float32", writes, chosen.storage, rectifies=False), parameters, strict=True)
    return [Step(*each) for each in pairs]


@pytest.fixture(scope="module")
def stored(network, samples):
    return catalogue(network, samples, [*STORED, "lowrank", "channels", "perforate"])


@pytest.mark.parametrize("writes", ["float32", "uint8"])
@pytest.mark.parametrize("name", STORED)
def test_rounded_weights_cost_little(name, writes):
    layer = conv(RNG.normal(size=(16, 3, 3, 8)), relu=True)
    x = RNG.normal(size=(40, 8, 8, 8)).astype(np.float32)
    context = context_of(layer, x)
    y = run_steps(steps_of(layer, context, name, writes), x)
    if writes == "uint8":
        y = context.output_qparams.dequantize(y)
    assert relative(y, context.outputs) < STORED[name][1] + (1e-4 if writes == "uint8" else 0)


@pytest.mark.parametrize("name", STORED)
def test_rounding_leaves_no_mean_error(name):
    """With inputs far from zero mean, rounded weights alone would shift every channel."""
    layer = conv(RNG.normal(size=(16, 3, 3, 8)))
    x = (RNG.normal(size=(64, 8, 8, 8)) + 6).astype(np.float32)
    context = context_of(layer, x)
    error = run_steps(steps_of(layer, context, name), x) - context.outputs
    spread = np.maximum(error.std(axis=(0, 1, 2)), 1e-4)
    assert (np.abs(error.mean(axis=(0, 1, 2))) < 0.05 * spread).all()


def test_in_4_bits_other_weights_make_up_for_rounding(monkeypatch):
    """Inputs that say much about each other, as neighbouring pixels do."""
    layer = conv(RNG.normal(size=(16, 3, 3, 8)))
    rough = RNG.normal(size=(60, 10, 10, 4)) @ RNG.normal(size=(4, 8)) + 0.1 * RNG.normal(
        size=(60, 10, 10, 8)
    )
    x = (rough[:, :-2, 1:-1] + rough[:, 1:-1, 1:-1] + rough[:, 2:, 1:-1]).astype(np.float32)
    context = context_of(layer, x)
    fed = relative(run_steps(steps_of(layer, context, "w4"), x), context.outputs)
    monkeypatch.setattr("network.approximations.w4.LARGEST_WINDOW", 0)
    plain = relative(run_steps(steps_of(layer, context, "w4"), x), context.outputs)
    assert fed < 0.5 * plain


@pytest.mark.parametrize("name", STORED)
def test_a_depthwise_layer_keeps_its_weights(name):
    layer = conv(RNG.normal(size=(8, 3, 3, 1)))
    layer = replace(layer, input_shape=(8, 8, 8), groups=8)
    x = RNG.normal(size=(20, 8, 8, 8)).astype(np.float32)
    context = context_of(layer, x)
    assert relative(run_steps(steps_of(layer, context, name), x), context.outputs) < 1e-9


@pytest.mark.parametrize("layer", ["conv1", "conv2", "fc", "out"])
@pytest.mark.parametrize("name", STORED)
def test_weights_take_their_bits_in_every_composition(name, layer, stored):
    variants = {(each.approximation, each.reads, each.writes): each for each in stored.variants[layer]}
    matching = [key for key in variants if key[0] == name or key[0].startswith(f"{name}+")]
    assert {key[0] for key in matching} > {name}
    for approximation, *forms in matching:
        plain = variants[approximation.removeprefix(name).removeprefix("+") or "exact", *forms]
        small = stored.fitted(variants[approximation, *forms])
        for step, other in zip(small.steps, stored.fitted(plain).steps, strict=True):
            packed = dict(zip(step.parameters, step.kernel.pack(ISA, step.parameters), strict=True))
            floats = dict(zip(other.parameters, other.kernel.pack(ISA, other.parameters), strict=True))
            if "weight" in packed:
                # The last word of a lane's nibbles may be partly empty.
                spare = 4 * ISA.lanes * packed["weight"].shape[0]
                assert packed["weight"].nbytes <= floats["weight"].nbytes * STORED[name][0] / 32 + spare


def test_layers_without_weights_have_no_such_variants(stored):
    for layer in ("input", "pool1", "relu1", "pool2"):
        assert {each.approximation for each in stored.variants[layer]} == {"exact"}


def test_runs_that_name_nothing_leave_them_out(known):
    for several in known.variants.values():
        assert not {each.approximation.split("+")[0] for each in several} & set(STORED)


def test_what_is_stored_stands_alone_among_exact_layers(stored):
    for name in STORED:
        assert stored.alone("conv2", name).writes == stored.alone("conv2", name).reads == Form("float32")
