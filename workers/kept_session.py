"""A session that outlasts a piece of work by a moment, because the next one usually follows at once.

Opening one takes the tracker, a greeting and a fork on the device: as long as timing several kernels. What is
kept is short in both directions, so that whoever else waits for the device gets it soon.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from tracker.session import Session

IDLE_S: Final = 0.25
"""Without work, before the device is free for others: what a coordinator takes to send the next batch, with
much to spare."""
HELD_S: Final = 5.0
"""In all, before others get their turn: opening sessions is then a few per cent of it, even where many
drivers of one host open theirs at the same moment."""


@dataclass(frozen=True, slots=True)
class _Kept:
    session: Session
    opened_s: float
    end: threading.Timer


class SessionKeeper:
    """Lends out sessions with one device, one at a time, to one thread at a time."""

    def __init__(self, held_s: float = HELD_S, idle_s: float = IDLE_S) -> None:
        self._held_s = held_s
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._kept: _Kept | None = None

    @contextmanager
    def borrow(self, fresh: Callable[[], Session]) -> Iterator[Session]:
        """The kept session if it still answers, or a fresh one; raises SessionFailed as ``fresh`` does.

        A session that failed meanwhile is not lent again: nothing that went wrong is carried over.
        """
        found = self._take()
        session = found.session if found else fresh()
        opened_s = found.opened_s if found else time.monotonic()
        try:
            yield session
        except BaseException:
            session.close()
            raise
        if time.monotonic() - opened_s < self._held_s:
            self._keep(session, opened_s)
        else:
            session.close()

    def release(self) -> None:
        """Frees the device if a session was kept."""
        if found := self._pop():
            found.session.close()

    def _take(self) -> _Kept | None:
        found = self._pop()
        if found is None or found.session.answers():
            return found
        found.session.close()
        return None

    def _keep(self, session: Session, opened_s: float) -> None:
        end = threading.Timer(self._idle_s, self.release)
        end.daemon = True
        with self._lock:
            self._kept = _Kept(session, opened_s, end)
            end.start()

    def _pop(self) -> _Kept | None:
        """What was kept is then the caller's alone, to use or to close."""
        with self._lock:
            found, self._kept = self._kept, None
        if found is not None:
            found.end.cancel()
        return found
