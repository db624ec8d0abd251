"""What `ray job submit --working-dir .` uploads: everything that a job needs, and little else."""

from pathlib import Path
from zipfile import ZipFile

import pytest
from ray._private.runtime_env.packaging import create_package

ROOT = Path(__file__).parents[2]
LARGEST_BYTES = 16_000_000


@pytest.fixture(scope="module")
def uploaded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    target = tmp_path_factory.mktemp("upload") / "working_dir.zip"
    create_package(str(ROOT), target, include_gitignore=True)
    with ZipFile(target) as archive:
        return target, set(archive.namelist())


def test_a_job_finds_the_packages_and_the_examples(uploaded: tuple[Path, set[str]]) -> None:
    _, names = uploaded
    wanted = {
        "cluster/__main__.py",
        "network/kernels/conv2d.py",
        "cluster/report/style.css",
        "examples/cifar10_quick/run.yaml",
        "examples/cifar10_quick/model.onnx",
        "examples/fashion_mnist/evaluation.npz",
    }
    assert wanted <= names


def test_neither_history_nor_results_nor_environments_are_uploaded(uploaded: tuple[Path, set[str]]) -> None:
    package, names = uploaded
    unwanted = (".git/", ".venv/", "out/", ".mypy_cache/", ".ruff_cache/")
    assert not [name for name in names if name.startswith(unwanted) or "__pycache__" in name]
    assert package.stat().st_size < LARGEST_BYTES
