"""Real libraries for the tests: some functions, and a network."""

import platform
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from network.isas import known
from network.link import linker
from network.target import Target, triple
from tracker.timing import Argument, TimingRequest

MATMUL = TimingRequest(
    "matmul", (Argument((32, 32), "float32"),) * 2 + (Argument((32, 32), "float32", "zeros"),)
)
DOUBLE = TimingRequest("double", (Argument((64,), "int32", "range"), Argument((64,), "int32", "zeros")))
DIE = TimingRequest("die", (Argument((1,), "int32", "zeros"),) * 2)
SLEEP = TimingRequest("sleep", (Argument((1,), "int32", "zeros"),) * 2)


HOST = platform.machine()


@dataclass(frozen=True)
class Model:
    """A multilayer perceptron without activations, and what it computes."""

    library: Path
    parameters: list[np.ndarray]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]

    @property
    def parameter_bytes(self) -> int:
        return sum(each.nbytes for each in self.parameters)

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        for weight in self.parameters:
            inputs = inputs @ weight.T
        return inputs


def build_model(
    path: Path, sizes: tuple[int, ...], workspace: bool = False, architecture: str = HOST
) -> Model:
    """With ``workspace``, each layer's kernel holds a buffer of the size of its weights."""
    from tvm import relax, te

    def dense(x: te.Tensor, w: te.Tensor) -> te.Tensor:
        k = te.reduce_axis((0, x.shape[1]), "k")
        w = te.compute(w.shape, lambda i, j: w[i, j] * 1.0, name="copy") if workspace else w
        return te.compute((1, w.shape[0]), lambda i, j: te.sum(x[i, k] * w[j, k], axis=k), name="dense")

    shapes = [(after, before) for before, after in pairwise(sizes)]
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((1, sizes[0]), "float32"))
    weights = [relax.Var(f"w{i}", relax.TensorType(shape, "float32")) for i, shape in enumerate(shapes)]
    with builder.function("main", [x, *weights]):
        with builder.dataflow():
            value = x
            for weight in weights:
                value = builder.emit_te(dense, value, weight)
            value = builder.emit_output(value)
        builder.emit_func_output(value)
    _compile(builder.get(), path, architecture)
    random = np.random.default_rng(0)
    parameters = [random.uniform(-0.1, 0.1, shape).astype(np.float32) for shape in shapes]
    return Model(path, parameters, (sizes[0],), (sizes[-1],))


def build_pair(path: Path, architecture: str = HOST) -> Path:
    """``main(a, b, w)``: the sum ``a + b`` and the product ``b * w``, of shape (1, 3)."""
    from tvm import relax

    builder = relax.BlockBuilder()
    a, b, w = (relax.Var(name, relax.TensorType((1, 3), "float32")) for name in "abw")
    with builder.function("main", [a, b, w]):
        results = [builder.emit(relax.op.add(a, b)), builder.emit(relax.op.multiply(b, w))]
        builder.emit_func_output(relax.Tuple(results))
    _compile(builder.get(), path, architecture)
    return path


def build_kernels(path: Path, architecture: str = HOST) -> Path:
    """A library with ``double`` (int32), ``matmul`` (float32), ``die`` (aborts) and ``sleep`` (a minute)."""
    import tvm
    from tvm import te

    def function(name: str, inputs: list[te.Tensor], output: te.Tensor) -> tvm.tirx.PrimFunc:
        return te.create_prim_func([*inputs, output]).with_attr("global_symbol", name)

    a, b = (te.placeholder((32, 32), "float32", name=name) for name in "ab")
    k = te.reduce_axis((0, 32), "k")
    matmul = te.compute((32, 32), lambda i, j: te.sum(a[i, k] * b[k, j], axis=k))
    numbers = te.placeholder((64,), "int32", name="numbers")
    double = te.compute((64,), lambda i: numbers[i] * 2)
    one = te.placeholder((1,), "int32", name="one")
    die = te.compute((1,), lambda i: tvm.tirx.call_extern("int32", "abort"))
    sleep = te.compute((1,), lambda i: tvm.tirx.call_extern("int32", "sleep", 60))
    module = tvm.IRModule(
        {
            "matmul": function("matmul", [a, b], matmul),
            "double": function("double", [numbers], double),
            "die": function("die", [one], die),
            "sleep": function("sleep", [one], sleep),
        }
    )
    _compile(module, path, architecture)
    return path


def _compile(module: Any, path: Path, architecture: str) -> None:
    import tvm

    target = target_of(architecture)
    tvm.compile(module, target.to_tvm()).export_library(str(path), fcompile=linker(target.mtriple))


def target_of(architecture: str) -> Target:
    """A processor of the architecture that has nothing special."""
    several = [isa for isa in known() if isa.architecture == architecture]
    oldest = min(several, key=lambda isa: len(isa.requires))
    return Target(triple(architecture), oldest.mcpu, oldest.mattr)
