"""What runs on a device: load a bundle and use it. Needs TVM's runtime and numpy alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.session import Session

__all__ = ["load"]


def load(folder: str | Path) -> Session:
    """Open, verify and load a bundle; raises ``runtime.errors.BundleError``.

    Imports TVM without its compiler where it has not been imported yet: a process that also compiles imports
    ``tvm`` first.
    """
    # The records of this package are read where numpy and TVM are not wanted.
    from runtime.session import load as load_session

    return load_session(folder)
