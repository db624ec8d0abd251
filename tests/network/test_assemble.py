from dataclasses import replace

import numpy as np
import pytest

from network.assemble import Choice, assemble
from network.errors import NetworkError
from network.execute import Executor
from network.kernels.conv2d import Conv2d
from network.kernels.input import Input
from network.kernels.pool import Pool
from network.layers import Layer, Network
from network.target import Target
from network.variants import Fitted, Form, Step, Variant
from tests.network.kernels import reference

RNG = np.random.default_rng(0)
NO_PADDING = (0, 0, 0, 0)
SCALE = 0.1
"""Of the uint8 activations between the convolutions, whose zero point is 0."""


def normal(*shape):
    return RNG.standard_normal(shape).astype("f4")


def layer(name, op, source, input_shape, output_shape, **attributes):
    return Layer(name, op, (source,) if source else (), input_shape, output_shape, **attributes)


CONVOLUTION = {"kernel": (3, 3), "padding": (1, 1, 1, 1), "bias": np.zeros(16, "f4"), "relu": True}
NETWORK = Network(
    name="tiny",
    sha256="0" * 64,
    layers=(
        layer("input", "input", None, (8, 8, 3), (8, 8, 3)),
        layer("first", "conv2d", "input", (8, 8, 3), (8, 8, 16), weight=normal(16, 3, 3, 3), **CONVOLUTION),
        layer(
            "second", "conv2d", "first", (8, 8, 16), (8, 8, 16), weight=normal(16, 3, 3, 16), **CONVOLUTION
        ),
        layer(
            "third", "conv2d", "second", (8, 8, 16), (8, 8, 16), weight=normal(16, 3, 3, 16), **CONVOLUTION
        ),
        layer("pool", "max_pool", "third", (8, 8, 16), (4, 4, 16), kernel=(2, 2), stride=(2, 2)),
        layer("flatten", "relu", "pool", (4, 4, 16), (1, 1, 256)),
        layer(
            "logits",
            "dense",
            "flatten",
            (1, 1, 256),
            (1, 1, 10),
            weight=normal(10, 1, 1, 256),
            bias=normal(10),
        ),
    ),
)


def fitted(name, *steps):
    dtypes = {step.kernel.arguments(Target.host().isa)[0].dtype for step in steps[:1]} or {"float32"}
    output = steps[-1].kernel.output_dtype if steps else "float32"
    kernels = tuple(step.kernel for step in steps)
    return Fitted(Variant(name, "exact", Form(dtypes.pop()), Form(output), kernels), steps)


def exact(name):
    anchor = NETWORK[name]
    shape = (anchor.kernel, anchor.stride, anchor.padding)
    if name == "input":
        return fitted(name, Step(Input(NETWORK.input_shapes["input"], "float32"), {}))
    if name == "flatten":
        return fitted(name)
    if name == "pool":
        window = Pool(anchor.input_shape, anchor.output_shape, "max", *shape, "float32", False)
        return fitted(name, Step(window, {}))
    kernel = Conv2d(anchor.input_shape, anchor.output_shape[2], *shape, "float32", "float32", anchor.relu)
    return fitted(name, Step(kernel, {"weight": anchor.weight, "bias": anchor.bias}))


def choose(chosen):
    isa = Target.host().isa
    return Choice(chosen, tuple(step.kernel.tiles(isa)[0] for step in chosen.steps))


@pytest.fixture
def choices():
    return {each.name: choose(exact(each.name)) for each in NETWORK.layers}


@pytest.fixture(scope="module")
def samples():
    return normal(5, *NETWORK.input_shapes["input"])


def expected_logits(sample):
    value = sample.transpose(1, 2, 0)
    for name in ("first", "second", "third"):
        value = np.maximum(reference.convolution_sums(value, NETWORK[name].weight, (1, 1), (1,) * 4, 0), 0)
    value = value.reshape(4, 2, 4, 2, 16).max((1, 3)).reshape(1, 1, 256)
    return value.ravel() @ NETWORK["logits"].weight.reshape(10, 256).T + NETWORK["logits"].bias


def run_assembled(assembled, samples):
    from tvm import cpu, relax
    from tvm.runtime import load_module, tensor

    main = relax.VirtualMachine(load_module(str(assembled.path)), cpu())["main"]
    parameters = [tensor(array) for _, array in assembled.parameters]
    return np.concatenate([main(tensor(sample[None]), *parameters).numpy() for sample in samples])


def test_the_library_computes_the_network(choices, samples, tmp_path):
    assembled = assemble(NETWORK, choices, Target.host(), tmp_path / "network.so")
    logits = run_assembled(assembled, samples)
    assert logits.shape == (5, 10)
    np.testing.assert_allclose(logits, [expected_logits(each) for each in samples], rtol=1e-4, atol=1e-2)


def test_the_executor_computes_the_same(choices, samples, tmp_path):
    assembled = assemble(NETWORK, choices, Target.host(), tmp_path / "network.so")
    (actual,) = Executor().run(NETWORK, choices, samples)
    np.testing.assert_array_equal(actual, run_assembled(assembled, samples))


def test_activations_that_are_never_alive_together_share_storage(choices, tmp_path):
    assembled = assemble(NETWORK, choices, Target.host(), tmp_path / "network.so")
    largest, pooled, logits = 8 * 8 * 16 * 4, 4 * 4 * 16 * 4, 10 * 4
    assert assembled.planned_bytes <= 2 * largest + pooled + logits
    assert assembled.planned_bytes >= 2 * largest
    # A copy with a border of one: rows of 10 columns, 10 rows, 16 channels.
    assert assembled.workspace_bytes == 10 * 10 * 16 * 4
    assert assembled.parameter_bytes == sum(array.nbytes for _, array in assembled.parameters)
    assert assembled.library_bytes == assembled.path.stat().st_size


def test_equal_kernels_are_compiled_once(choices, tmp_path):
    """The second and the third convolution differ in their weights alone."""
    path = assemble(NETWORK, choices, Target.host(), tmp_path / "network.so").path
    symbols = {word for word in path.read_bytes().split(b"\0") if word.startswith(b"__tvm_ffi_blinknet_")}
    assert len(symbols) == 5


def quantized_edge():
    """The first two convolutions with uint8 between them."""
    first, second = NETWORK["first"], NETWORK["second"]
    shape = ((3, 3), (1, 1), (1, 1, 1, 1))
    to_bytes = Conv2d((8, 8, 3), 16, *shape, "float32", "uint8", False)
    steps = np.full(16, 1 / SCALE, "f4")
    wide = {"weight": first.weight, "bias": np.zeros(16, "f4"), "scale": steps}
    from_bytes = Conv2d((8, 8, 16), 16, *shape, "uint8", "float32", True)
    weight_scale = np.abs(second.weight).max() / 127
    rounded = np.rint(second.weight / weight_scale).astype("i1")
    narrow = {
        "weight": rounded,
        "scale": np.full(16, weight_scale * SCALE, "f4"),
        "bias": np.zeros(16, "f4"),
        "zero_point": np.zeros(1, "u1"),
    }
    return fitted("first", Step(to_bytes, wide)), fitted("second", Step(from_bytes, narrow))


def test_bytes_between_layers(choices, samples, tmp_path):
    first, second = quantized_edge()
    choices |= {"first": choose(first), "second": choose(second)}
    assembled = assemble(NETWORK, choices, Target.host(), tmp_path / "network.so")
    logits = run_assembled(assembled, samples)
    np.testing.assert_array_equal(Executor().run(NETWORK, choices, samples)[0], logits)
    exact_logits = np.array([expected_logits(each) for each in samples])
    assert 0 < np.abs(logits - exact_logits).max() < 0.03 * np.abs(exact_logits).max()


def test_neighbours_must_agree_on_the_tensor_between_them(choices, tmp_path):
    first, _ = quantized_edge()
    choices["first"] = choose(first)
    with pytest.raises(NetworkError, match=r"layer first .* writes u8 and layer second .* reads f32"):
        assemble(NETWORK, choices, Target.host(), tmp_path / "network.so")


def test_every_layer_needs_a_choice(choices, tmp_path):
    del choices["second"]
    with pytest.raises(NetworkError, match=r"layer second of network tiny has no choice"):
        assemble(NETWORK, choices, Target.host(), tmp_path / "network.so")


def test_every_step_needs_a_tile(choices):
    choices["second"] = replace(choices["second"], tiles=())
    with pytest.raises(NetworkError, match=r"layer second has 1 steps and 0 tiles"):
        Executor().run(NETWORK, choices, np.zeros((1, 3, 8, 8), "f4"))


def test_a_variant_runs_on_its_own(samples):
    executor = Executor()
    inputs = executor.run_variant(exact("input"), samples.reshape(5, 3, 64))
    np.testing.assert_array_equal(inputs.reshape(5, 8, 8, 3), samples.transpose(0, 2, 3, 1))
    assert executor.run_variant(exact("flatten"), inputs) is inputs


def test_samples_of_another_shape_or_type_are_refused(choices):
    with pytest.raises(NetworkError, match=r"takes samples of float32\[3, 8, 8\] and was given float64"):
        Executor().run(NETWORK, choices, np.zeros((1, 3, 8, 8)))
    with pytest.raises(NetworkError, match=r"float32\[8, 24\] and was given float32\[8, 8, 3\]"):
        Executor().run_variant(exact("first"), np.zeros((1, 8, 8, 3), "f4"))
