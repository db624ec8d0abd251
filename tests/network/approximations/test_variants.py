"""What holds for every variant of every layer."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from network.approximations import method_names, network_variants, parse, variants
from network.errors import NetworkError
from network.isa import Isa
from network.reference import run_steps

LAYERS = ("input", "conv1", "pool1", "relu1", "conv2", "pool2", "fc", "out")
ISA = Isa("test", lanes=8, registers=16, group=2, activation="int16", mcpu="x86-64-v3", requires=())


def outputs(variant, context, samples):
    """A variant's outputs in real numbers, from real inputs in its element type."""
    if variant.layer == "input":
        x = samples.x
    elif variant.input_dtype == "uint8":
        x = context.input_qparams.quantize(context.inputs)
    else:
        x = context.inputs
    y = run_steps(variant.steps, x)
    return context.output_qparams.dequantize(y) if variant.output_dtype == "uint8" else y


def error(variant, context, samples):
    y = outputs(variant, context, samples)
    return float(np.square(y - context.outputs).mean() / context.outputs.var())


@pytest.mark.parametrize("layer", LAYERS)
def test_exact_in_float32_is_exact(layer, found, known, samples):
    first = found[layer][0]
    assert first.key == "exact f32>f32"
    np.testing.assert_allclose(outputs(first, known[layer], samples), known[layer].outputs, atol=1e-4)


@pytest.mark.parametrize("layer", LAYERS)
def test_8_bits_cost_little(layer, found, known, samples):
    changed = [
        each
        for each in found[layer]
        if each.approximation in {"exact", "int8"} and "uint8" in {each.input_dtype, each.output_dtype}
    ]
    assert changed or layer == "out"
    for variant in changed:
        assert variant.output_dtype in {"float32", "uint8"}
        assert error(variant, known[layer], samples) < 2e-3, variant.key


@pytest.mark.parametrize("layer", LAYERS)
def test_int8_loses_little_beside_every_method(layer, found, known, samples):
    errors = {each.key: error(each, known[layer], samples) for each in found[layer]}
    for key, lost in errors.items():
        name = key.split(" ")[0]
        if name.startswith("int8+"):
            alone = errors[f"{name.removeprefix('int8+')} f32>f32"]
            assert lost == pytest.approx(alone, rel=0.15, abs=4e-3), key


@pytest.mark.parametrize("layer", LAYERS)
def test_kernels_accept_the_parameters(layer, found, network):
    """Shapes and element types follow one another, and packing checks every parameter."""
    for variant in found[layer]:
        for step in variant.steps:
            packed = step.kernel.pack(ISA, step.parameters)
            assert [each.shape for each in packed] == [
                each.shape for each in step.kernel.arguments(ISA)[1:-1]
            ]
        if variant.steps:
            assert variant.steps[-1].kernel.output_shape == network[layer].output_shape
            assert variant.steps[-1].kernel.output_dtype == variant.output_dtype
        else:
            assert variant.input_dtype == variant.output_dtype


@pytest.mark.parametrize("layer", LAYERS)
def test_keys_are_unique_and_names_parse(layer, found):
    keys = [each.key for each in found[layer]]
    assert len(set(keys)) == len(keys)
    for each in found[layer]:
        assert str(parse(each.approximation)) == each.approximation


def test_the_output_stays_float32(found):
    assert {each.output_dtype for each in found["out"]} == {"float32"}
    assert {each.input_dtype for each in found["out"]} == {"float32", "uint8"}


def test_more_is_kept_at_higher_degrees(found, known, samples):
    for method in ("channels", "lowrank"):
        errors = [
            error(each, known["conv2"], samples)
            for each in found["conv2"]
            if each.approximation.startswith(f"{method}(") and each.key.endswith("f32>f32")
        ]
        assert len(errors) >= 3
        assert errors == sorted(errors)


def test_the_same_inputs_give_the_same_bytes(network, samples):
    first, second = (network_variants(network, samples.take(60)) for _ in range(2))
    for layer in first:
        for a, b in zip(first[layer], second[layer], strict=True):
            assert a.key == b.key
            for one, other in zip(a.steps, b.steps, strict=True):
                assert one.kernel == other.kernel
                for name, values in one.parameters.items():
                    assert values.tobytes() == other.parameters[name].tobytes()


def test_methods_and_degrees_can_be_limited(network, known):
    def names(**limits):
        return {each.approximation for each in variants(network["conv2"], known["conv2"], **limits)}

    assert names(methods=[]) == {"exact"}
    assert names(methods=["int8"]) == {"exact", "int8"}
    assert names(methods=["lowrank"], degrees=[Fraction(1, 3)]) == {"exact", "lowrank(1/3)"}
    everything = names(degrees=[Fraction(1, 2)])
    assert {"int8+channels(1/2)", "perforate(cols=2)"} <= everything
    assert "perforate(rows=2,cols=2)" not in everything


def test_unknown_methods_and_names_are_refused_with_the_known_ones(network, known):
    with pytest.raises(NetworkError, match=r"prune.*exact, int8.*lowrank"):
        variants(network["conv2"], known["conv2"], methods=["prune"])
    for name in ("lowrank", "int4", "exact(1/2)", "int4+lowrank(1/2)", ""):
        with pytest.raises(NetworkError, match="is not an approximation"):
            parse(name)
    assert set(method_names()) == {"exact", "int8", "channels", "lowrank", "perforate"}
