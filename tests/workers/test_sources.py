"""Versions follow the sources, and nothing else."""

from importlib.metadata import version
from pathlib import Path

import pytest

import network
from workers import sources


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "dense.py").write_text("dense = 1\n")
    (tmp_path / "build.py").write_text("build = 1\n")
    return tmp_path


def digest(tree: Path) -> str:
    return sources._hash(tree, ("kernels", "build.py"))


def test_every_named_source_is_there():
    root = Path(network.__file__).parent
    assert [each for each in sources.KERNEL_SOURCES if not (root / each).exists()] == []
    assert [each for each in sources.PACKAGES if not (root.parent / each).is_dir()] == []


def test_versions_name_tvm_and_are_the_same_every_time():
    assert sources.kernel_versions().startswith(f"tvm {version('apache-tvm')}, ")
    assert sources.accuracy_versions().startswith(sources.kernel_versions())
    assert sources.fingerprint() == sources.fingerprint()
    assert sources.fingerprint() != sources.kernel_versions()


@pytest.mark.parametrize("name", ["kernels/dense.py", "build.py"])
def test_another_source_is_another_version(tree: Path, name: str):
    before = digest(tree)
    (tree / name).write_text("something = 2\n")
    assert digest(tree) != before


def test_a_new_and_a_moved_source_are_other_versions(tree: Path):
    before = digest(tree)
    (tree / "kernels" / "dense.py").rename(tree / "kernels" / "full.py")
    moved = digest(tree)
    (tree / "kernels" / "pool.py").write_text("")
    assert len({before, moved, digest(tree)}) == 3


def test_what_is_no_source_changes_nothing(tree: Path):
    before = digest(tree)
    (tree / "kernels" / "notes.md").write_text("notes")
    (tree / "other.py").write_text("other = 1\n")
    assert digest(tree) == before
