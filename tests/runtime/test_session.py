import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import runtime
from runtime.errors import BundleError, SampleError

ROOT = Path(runtime.__file__).parents[1]
X = np.random.default_rng(3).normal(size=(4, 2, 3, 3)).astype(np.float32)


@pytest.fixture
def folder(write, tmp_path) -> Path:
    return write(tmp_path / "bundle").folder


@pytest.fixture
def expected(parameters) -> np.ndarray:
    weight, bias = parameters
    return X.reshape(4, 18) @ weight + bias


def test_logits_of_one_and_of_several_samples(folder, expected):
    session = runtime.load(folder)
    np.testing.assert_allclose(session.run(X), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(session.run(X[1]), expected[1:2], rtol=1e-5, atol=1e-5)
    assert session.run(X[:0]).shape == (0, 5)


def test_any_memory_order_is_taken(folder, expected):
    strided = np.asfortranarray(X)[::2]
    np.testing.assert_allclose(runtime.load(folder).run(strided), expected[::2], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("x", [X.astype(np.float64), X[0, 0], X[:, :1], X.reshape(4, 2, 9), X[np.newaxis]])
def test_a_sample_of_another_shape_or_type_is_refused(folder, x):
    with pytest.raises(SampleError, match=r"x has (element type|shape) .*; give"):
        runtime.load(folder).run(x)


def test_a_cpu_without_the_features_is_told_so_before_the_library_is_loaded(write, tmp_path):
    folder = write(tmp_path / "bundle", requires=("sse4_2", "warp_drive")).folder
    with pytest.raises(
        BundleError, match="needs the CPU features warp_drive, which this machine lacks; deploy"
    ):
        runtime.load(folder)


def test_a_library_that_is_none_is_refused(write, tmp_path, library, monkeypatch):
    text = tmp_path / "network.so"
    text.write_text("no library")
    monkeypatch.setattr("runtime.bundle.shutil.copyfile", lambda _, to: to.write_bytes(text.read_bytes()))
    with pytest.raises(BundleError, match="cannot be loaded here"):
        runtime.load(write(tmp_path / "bundle").folder)


FRESH = """
import json, os, sys, numpy, runtime
session = runtime.load(sys.argv[1])
logits = session.run(numpy.ones((2, 3, 3), "float32"))
packages = {name.partition(".")[0] for name in sys.modules}
import tvm
print(json.dumps({
    "logits": logits.tolist(),
    "foreign": sorted(packages & {"network", "tracker", "cost_model", "cluster", "yaml", "scipy", "onnx"}),
    "compiler": tvm.get_global_func("target.codegen.llvm_version_major", allow_missing=True) is not None,
    "leaked": "TVM_USE_RUNTIME_LIB" in os.environ,
    "mapped": "parameters.bin" in open("/proc/self/maps").read(),
}))
"""


def test_a_fresh_process_needs_tvms_runtime_and_numpy_alone(folder, parameters):
    command = [sys.executable, "-c", FRESH, str(folder)]
    told = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    np.testing.assert_allclose(told["logits"], np.ones((1, 18)) @ parameters[0] + parameters[1], rtol=1e-4)
    assert told["foreign"] == []
    assert not told["compiler"]
    assert not told["leaked"]
    assert told["mapped"]


def test_the_records_need_neither_tvm_nor_numpy():
    code = "import sys, runtime.bounds, runtime.configuration; assert not {'tvm', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
