import gzip
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

from examples.data import DEBIAN_FOLDER, PREPARED_FOLDER, Samples, network_input, split

EXAMPLES = PREPARED_FOLDER.parent
MODELS = {name: EXAMPLES / name / "model.onnx" for name in ("cifar10_quick", "vgg16")}
COMMITTED = [*MODELS.values(), PREPARED_FOLDER / "calibration.npz", PREPARED_FOLDER / "evaluation.npz"]
NODES = {
    "cifar10_quick": {"Conv": 3, "Relu": 3, "MaxPool": 1, "AveragePool": 2, "Flatten": 1, "Gemm": 2},
    "vgg16": {"Conv": 13, "BatchNormalization": 13, "Relu": 15, "MaxPool": 5, "Flatten": 1, "Gemm": 3},
}


@pytest.fixture(scope="module")
def calibration() -> Samples:
    return Samples.load(PREPARED_FOLDER / "calibration.npz")


@pytest.fixture(scope="module")
def evaluation() -> Samples:
    return Samples.load(PREPARED_FOLDER / "evaluation.npz")


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Every tensor that flows between two nodes, with its inferred shape."""
    graph = onnx.shape_inference.infer_shapes(onnx.load(path), strict_mode=True).graph
    values = [*graph.input, *graph.value_info, *graph.output]
    return {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in values}


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_committed_file_is_small(path: Path) -> None:
    assert path.stat().st_size < 8_000_000


@pytest.mark.parametrize("name", MODELS)
def test_model_is_valid_onnx_of_opset_17(name: str) -> None:
    model = onnx.load(MODELS[name])
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]


@pytest.mark.parametrize("name", MODELS)
def test_model_has_the_published_layers(name: str) -> None:
    assert Counter(node.op_type for node in onnx.load(MODELS[name]).graph.node) == NODES[name]


def test_every_vgg16_convolution_is_normalized_then_rectified() -> None:
    kinds = [node.op_type for node in onnx.load(MODELS["vgg16"]).graph.node]
    convolutions = [i for i, kind in enumerate(kinds) if kind == "Conv"]
    assert all(kinds[i + 1 : i + 3] == ["BatchNormalization", "Relu"] for i in convolutions)


@pytest.mark.parametrize("name", MODELS)
def test_initializers_are_named_after_their_node(name: str) -> None:
    graph = onnx.load(MODELS[name]).graph
    used = [(node.name, parameter) for node in graph.node for parameter in node.input[1:]]
    assert {parameter for _, parameter in used} == {tensor.name for tensor in graph.initializer}
    assert all(parameter.startswith(f"{node}.") for node, parameter in used)


def test_cifar10_quick_has_the_sizes_of_caffe() -> None:
    sizes = shapes(MODELS["cifar10_quick"])
    layers = ("image", "conv1", "pool1", "conv2", "pool2", "conv3", "pool3", "flatten", "ip1", "scores")
    assert [sizes[layer] for layer in layers] == [
        (1, 1, 28, 28),
        (1, 32, 32, 32),
        (1, 32, 16, 16),
        (1, 32, 16, 16),
        (1, 32, 8, 8),
        (1, 64, 8, 8),
        (1, 64, 4, 4),
        (1, 1024),
        (1, 64),
        (1, 10),
    ]


def test_vgg16_has_a_quarter_of_the_published_channels() -> None:
    sizes = shapes(MODELS["vgg16"])
    pools = [sizes[f"pool{block}"] for block in range(1, 6)]
    assert sizes["image"] == (1, 1, 28, 28)
    assert sizes["conv1_1"] == (1, 16, 32, 32)
    assert pools == [(1, 16, 16, 16), (1, 32, 8, 8), (1, 64, 4, 4), (1, 128, 2, 2), (1, 128, 1, 1)]
    assert [sizes[layer] for layer in ("fc6", "fc7", "scores")] == [(1, 128), (1, 128), (1, 10)]


@pytest.mark.parametrize(("name", "count"), [("calibration", 5_000), ("evaluation", 10_000)])
def test_samples_are_bytes_with_all_ten_classes(
    name: str, count: int, request: pytest.FixtureRequest
) -> None:
    samples: Samples = request.getfixturevalue(name)
    assert (samples.x.shape, samples.x.dtype) == ((count, 1, 28, 28), np.dtype(np.uint8))
    assert (samples.y.shape, samples.y.dtype) == ((count,), np.dtype(np.uint8))
    assert set(samples.y) == set(range(10))


def test_classes_are_balanced(calibration: Samples, evaluation: Samples) -> None:
    assert np.bincount(evaluation.y).tolist() == [1_000] * 10
    assert np.bincount(calibration.y).min() > 400


def test_calibration_shares_no_image_with_evaluation(calibration: Samples, evaluation: Samples) -> None:
    calibrated = {image.tobytes() for image in calibration.x}
    evaluated = {image.tobytes() for image in evaluation.x}
    assert not calibrated & evaluated


def test_network_input_is_float_between_0_and_1(evaluation: Samples) -> None:
    images = network_input(evaluation.x[:100])
    assert images.dtype == np.float32
    assert (images.min(), images.max()) == (0.0, 1.0)


@pytest.mark.skipif(not DEBIAN_FOLDER.exists(), reason="needs `apt-get install dataset-fashion-mnist`")
def test_committed_samples_come_from_the_split_rule(calibration: Samples, evaluation: Samples) -> None:
    made = split()
    assert len(made.train.y) == 55_000
    for committed, drawn in ((calibration, made.calibration), (evaluation, made.evaluation)):
        assert np.array_equal(committed.x, drawn.x)
        assert np.array_equal(committed.y, drawn.y)


def test_a_missing_data_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="apt-get install dataset-fashion-mnist"):
        split(tmp_path)


def test_a_file_that_is_not_idx_is_refused(tmp_path: Path) -> None:
    for kind in ("images-idx3", "labels-idx1"):
        (tmp_path / f"train-{kind}-ubyte.gz").write_bytes(gzip.compress(b"\0\0\x0d\x01\0\0\0\0"))
    with pytest.raises(ValueError, match="not an IDX file"):
        split(tmp_path)


@pytest.mark.parametrize(("name", "least"), [("cifar10_quick", 0.91), ("vgg16", 0.925)])
def test_model_is_accurate_on_the_whole_test_set(name: str, least: float, evaluation: Samples) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra `test`")
    from examples.evaluate import accuracy

    assert accuracy(MODELS[name], evaluation) >= least
