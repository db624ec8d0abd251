"""What a result depends on besides its content: TVM and the sources that make kernels and variants.

A change in a kernel makes its old measurements another version's, so nothing stale is ever reused. Driver and
workers compare fingerprints before a run: Ray may ship one tree and find another one installed.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

import network

KERNEL_SOURCES = ("kernels", "isas", "assemble.py", "build.py", "clocked.py", "lowering.py", "program.py")
PACKAGES = ("network", "tracker", "cost_model", "runtime", "workers", "cluster")


@cache
def kernel_versions() -> str:
    """Version key of latencies: TVM and everything that shapes a compiled kernel."""
    return f"tvm {version('apache-tvm')}, kernels {_hash(Path(network.__file__).parent, KERNEL_SOURCES)}"


@cache
def accuracy_versions() -> str:
    """Version key of accuracies: everything that shapes a variant's parameters, from the ONNX file on."""
    return f"{kernel_versions()}, network {_hash(Path(network.__file__).parent.parent, ('network',))}"


def fingerprint() -> str:
    """Of all our sources as this process would import them, with TVM's version."""
    return f"tvm {version('apache-tvm')}, sources {_hash(Path(network.__file__).parent.parent, PACKAGES)}"


def _code(file: Path) -> str:
    """What a source does: a comment, a docstring or another line break is no other version."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and ast.get_docstring(node) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)


def _hash(root: Path, names: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for name in names:
        path = root / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.relative_to(root).as_posix().encode())
            digest.update(_code(file).encode())
    return digest.hexdigest()[:12]
