"""Whether a device answers: asked on its port, as any client would ask.

A connection that is accepted proves nothing: the kernel of a frozen agent still accepts. So a greeting is
sent with a match key that nobody offered, and the refusal is the sign of life. Our agents refuse at once,
even while a session runs; TVM's own server does not while it is busy, so its silence says nothing.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from typing import Final

from tracker.address import Address
from tracker.transport import NotAdmittedError, connect
from tracker.wire import RPC_MAGIC, RPC_MISMATCH

ANSWER_S: Final = 1.5
"""A refusal takes a few milliseconds; a slow link in the middle of an upload makes it wait."""
SILENCES: Final = 2
"""In a row, before a device counts as gone: one answer may be lost."""
_NOBODY: Final = b"client:nobody"


def answers(device: Address, timeout_s: float = ANSWER_S) -> bool:
    """Whether a TVM RPC server at the address refuses a wrong match key within ``timeout_s``."""
    until = time.monotonic() + timeout_s
    try:
        with connect(device, timeout_s) as connection:
            connection.settimeout(max(0.01, until - time.monotonic()))
            connection.sendall(struct.pack("<ii", RPC_MAGIC, len(_NOBODY)) + _NOBODY)
            return connection.recv(4) == struct.pack("<i", RPC_MISMATCH)
    except NotAdmittedError:
        return True  # It lives, and who opens a session hears why it does not let us in.
    except OSError:
        return False


class Watchdog:
    """Asks one device again and again while something is awaited from it."""

    def __init__(self, device: Address, ask: Callable[[Address], bool] = answers) -> None:
        self.device = device
        self._ask = ask
        self._silences = 0

    def silent(self) -> bool:
        """Asks once; whether the device has now been silent too often in a row."""
        self._silences = 0 if self._ask(self.device) else self._silences + 1
        return self._silences >= SILENCES
