from __future__ import annotations

import fcntl
import os
from pathlib import Path

from cost_model.errors import StoreError


class WriterLock:
    """Held by the one process that appends to a store; the kernel releases it when that process ends.

    The lock belongs to the open file, not to the process: opening a store twice in one process is refused
    as well. The file stays behind: removing it would let two writers lock two files of the same name.
    """

    def __init__(self, store: Path) -> None:
        self.path = store.with_name(store.name + ".lock")
        try:
            self._file = self.path.open("a+", encoding="ascii")
        except OSError as error:
            raise StoreError(
                f"cannot lock {store} with {self.path}: {error.strerror}; "
                "choose a folder that exists and is writable"
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = self._holder()
            self._file.close()
            raise StoreError(
                f"{store} is being written by {holder} (lock file {self.path}); "
                "wait for it to end, or open the store for reading only"
            ) from error
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    def release(self) -> None:
        """Let another process write; harmless when called again."""
        self._file.close()

    def _holder(self) -> str:
        self._file.seek(0)
        pid = self._file.read().strip()
        return f"process {pid}" if pid else "another process"
