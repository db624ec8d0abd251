"""What holds for every variant of every layer."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from network.approximations import catalogue, method_names, parse
from network.errors import NetworkError
from network.isas import x86_64_v3
from network.reference import run_steps
from network.variants import Form

LAYERS = ("input", "conv1", "pool1", "relu1", "conv2", "pool2", "fc", "out")
ISA = x86_64_v3.ISA


def outputs(known, variant, samples):
    """A variant's outputs in real numbers, from real inputs in the form that it reads."""
    context = known.context(variant)
    x = context.inputs
    if variant.layer == "input":
        x = samples.x
    elif variant.reads.dtype == "uint8":
        x = context.input_qparams.quantize(x)
    y = run_steps(known.fitted(variant).steps, x)
    return context.output_qparams.dequantize(y) if variant.writes.dtype == "uint8" else y


def error(known, variant, samples):
    y, exact = outputs(known, variant, samples), known.context(variant).outputs
    return float(np.square(y - exact).mean() / exact.var())


@pytest.mark.parametrize("layer", LAYERS)
def test_exact_in_float32_is_exact(layer, known, samples):
    first = known.variants[layer][0]
    assert first.key == "exact f32>f32"
    np.testing.assert_allclose(outputs(known, first, samples), known.contexts[layer].outputs, atol=1e-4)


@pytest.mark.parametrize("layer", LAYERS)
def test_what_is_written_in_part_is_what_is_written_in_full(layer, known, samples):
    """Exactly in float32: the same sums, only fewer of them."""
    whole = {each.approximation: each for each in known.variants[layer] if each.writes == Form("float32")}
    narrow = [
        each for each in known.variants[layer] if each.writes.channels and each.writes.dtype == "float32"
    ]
    assert bool(narrow) == (layer in {"conv1", "pool1", "relu1", "conv2", "pool2", "fc"})
    for variant in narrow:
        channels = known.written_channels(variant)
        assert len(channels) == variant.writes.channels
        if variant.kernels and variant.reads.dtype == "float32":
            assert variant.kernels[-1].output_shape[2] == len(channels)
            full = outputs(known, whole[variant.approximation], samples)
            np.testing.assert_allclose(outputs(known, variant, samples), full[..., channels], atol=1e-4)


@pytest.mark.parametrize("layer", LAYERS)
def test_8_bits_cost_little(layer, known, samples):
    changed = [
        each
        for each in known.variants[layer]
        if each.approximation in {"exact", "int8"} and "uint8" in {each.reads.dtype, each.writes.dtype}
    ]
    assert changed or layer == "out"
    for variant in changed:
        assert error(known, variant, samples) < 2e-3, variant.key


@pytest.mark.parametrize("layer", LAYERS)
def test_int8_loses_little_beside_every_method(layer, known, samples):
    full = [each for each in known.variants[layer] if not each.writes.channels]
    errors = {(each.approximation, each.writes): error(known, each, samples) for each in full}
    for (name, _), lost in errors.items():
        if name.startswith("int8+"):
            alone = errors[name.removeprefix("int8+"), Form("float32")]
            assert lost == pytest.approx(alone, rel=0.15, abs=4e-3), name


@pytest.mark.parametrize("layer", LAYERS)
def test_kernels_accept_the_parameters(layer, known):
    """Shapes and element types follow one another, and packing checks every parameter."""
    *area, _ = known.network[layer].output_shape
    for variant in known.variants[layer]:
        for step in known.fitted(variant).steps:
            packed = step.kernel.pack(ISA, step.parameters)
            assert [each.shape for each in packed] == [
                each.shape for each in step.kernel.arguments(ISA)[1:-1]
            ]
        if variant.kernels:
            written = variant.writes.channels or known.network[layer].output_shape[2]
            assert variant.kernels[-1].output_shape == (*area, written)
            assert variant.kernels[-1].output_dtype == variant.writes.dtype
        else:
            assert variant.reads == variant.writes


def test_every_form_that_is_read_is_written(known):
    """Whatever a layer reads, its producer has an exact and an int8 variant that writes it."""
    for producer, consumer in known.network.edges:
        written = {(each.approximation, each.writes) for each in known.variants[producer]}
        for each in known.variants[consumer]:
            assert ("exact", each.reads) in written or ("int8", each.reads) in written, each.key


def test_what_saves_nothing_beside_the_narrow_layer_is_left_out(known):
    for name in ("conv1", "conv2", "fc"):
        for each in known.variants[name]:
            if each.approximation.startswith("lowrank") and each.writes.channels:
                rank = each.kernels[0].output_shape[2]
                assert rank < each.writes.channels


@pytest.mark.parametrize("layer", LAYERS)
def test_keys_are_unique_and_names_parse(layer, known):
    keys = [each.key for each in known.variants[layer]]
    assert len(set(keys)) == len(keys)
    for each in known.variants[layer]:
        assert str(parse(each.approximation)) == each.approximation
        assert known.variant(layer, each.key) is each


def test_the_output_stays_whole_and_float32(known):
    assert {each.writes for each in known.variants["out"]} == {Form("float32")}
    assert {each.reads.dtype for each in known.variants["out"]} == {"float32", "uint8"}


def test_the_network_s_input_is_written_whole_and_selections_of_it_gather(known):
    assert not any(each.writes.channels for each in known.variants["input"])
    assert not any(each.reads.channels for each in known.variants["conv1"])


def test_more_is_kept_at_higher_degrees(known, samples):
    for method in ("channels", "lowrank", "spatial"):
        errors = [
            error(known, each, samples)
            for each in known.variants["conv2"]
            if each.approximation.startswith(f"{method}(") and each.writes == Form("float32")
        ]
        assert len(errors) >= 2
        assert errors == sorted(errors)


def test_the_same_inputs_give_the_same_bytes(network, samples):
    first, second = (catalogue(network, samples.take(60)) for _ in range(2))
    assert first.variants == second.variants
    for several in first.variants.values():
        for variant in several:
            pairs = zip(first.fitted(variant).steps, second.fitted(variant).steps, strict=True)
            for one, other in pairs:
                for name, values in one.parameters.items():
                    assert values.tobytes() == other.parameters[name].tobytes()


def test_methods_and_degrees_can_be_limited(network, samples):
    def names(*limits):
        found = catalogue(network, samples.take(40), *limits)
        return {each.approximation for each in found.variants["conv2"]}

    assert names([]) == {"exact"}
    assert names(["int8"]) == {"exact", "int8"}
    assert names(["lowrank"], [Fraction(1, 3)]) == {"exact", "lowrank(1/3)"}
    everything = names(None, [Fraction(1, 2)])
    assert {"int8+channels(1/2)", "perforate(cols=2)"} <= everything
    assert "perforate(rows=2,cols=2)" not in everything


def test_unknown_methods_and_names_are_refused_with_the_known_ones(network, samples):
    with pytest.raises(NetworkError, match=r"prune.*exact, bf16, int8.*lowrank"):
        catalogue(network, samples, ["prune"])
    for name in ("lowrank", "int4", "exact(1/2)", "int4+lowrank(1/2)", ""):
        with pytest.raises(NetworkError, match="is not an approximation"):
            parse(name)
    assert set(method_names()) == {
        *("exact", "int8", "bf16", "w4", "w8"),
        *("channels", "lowrank", "perforate", "spatial", "taps", "winograd"),
    }
