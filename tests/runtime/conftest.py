from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from runtime.bundle import Bundle, write_bundle
from runtime.configuration import Certificate, Configuration, Costs, LayerChoice

INPUT_SHAPE, CLASSES = (1, 2, 3, 3), 5
RNG = np.random.default_rng(7)
WEIGHT = RNG.normal(size=(18, CLASSES)).astype(np.float32)
BIAS = RNG.normal(size=(1, CLASSES)).astype(np.float32)


@pytest.fixture(scope="session")
def library(tmp_path_factory) -> Path:
    """A relax VM library: ``main(x, weight, bias) = reshape(x) @ weight + bias``."""
    import tvm
    from tvm import relax

    shapes = {"x": INPUT_SHAPE, "weight": WEIGHT.shape, "bias": BIAS.shape}
    x, weight, bias = (relax.Var(name, relax.TensorType(shape, "float32")) for name, shape in shapes.items())
    builder = relax.BlockBuilder()
    with builder.function("main", [x, weight, bias]):
        product = builder.emit(relax.op.matmul(builder.emit(relax.op.reshape(x, (1, 18))), weight))
        builder.emit_func_output(builder.emit(relax.op.add(product, bias)))
    target = tvm.target.Target({"kind": "llvm", "mcpu": "x86-64-v2"})
    path = tmp_path_factory.mktemp("library") / "network.so"
    tvm.compile(builder.finalize(), target).export_library(str(path))
    return path


@pytest.fixture
def parameters() -> tuple[np.ndarray, np.ndarray]:
    """What the library above is called with behind x."""
    return WEIGHT, BIAS


@pytest.fixture
def configuration() -> Configuration:
    layers = (
        LayerChoice("input", "exact", "f32", "f32", (), 0.0, 0, 0.0, measured=True),
        LayerChoice(
            "ip1",
            "int8+lowrank(1/2)",
            "f32",
            "f32",
            ((8, 1), (4, 4)),
            7.9e-5,
            360,
            1e-4,
            measured=False,
        ),
    )
    return Configuration(
        "tiny", "ab" * 32, "x86-64-v2", "local", "llvm x86-64-v2", layers, Costs(8e-5, 900, 800, 0.1)
    )


@pytest.fixture
def certificate() -> Certificate:
    return Certificate(
        verdict="holds",
        device="x86-64-v2.local",
        runs=300,
        percentile=95.0,
        confidence=0.95,
        latency_s=8.1e-5,
        median_s=7.8e-5,
        exact_latency_s=3.1e-4,
        exact_median_s=3e-4,
        peak_bytes=1200,
        exact_peak_bytes=4000,
        storage_bytes=0,
        exact_storage_bytes=2000,
        accuracy=0.9,
        exact_accuracy=0.91,
        loss_pp=1.0,
        samples=2000,
        rounds=2,
        issued="2026-01-31",
        versions={"tvm": "0.27.0", "blinknet": "0.1.0"},
    )


@pytest.fixture
def write(library, configuration, certificate) -> Callable[..., Bundle]:
    """Write the bundle of the library above into a folder."""

    def _write(folder: Path, **other) -> Bundle:
        arguments = {"certificate": certificate, "requires": ("sse4_2",)} | other
        return write_bundle(
            folder,
            library,
            [("weight", WEIGHT), ("bias", BIAS)],
            configuration,
            arguments["certificate"],
            input_shape=INPUT_SHAPE,
            output_shape=(1, CLASSES),
            requires=arguments["requires"],
        )

    return _write
