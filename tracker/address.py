"""Where a tracker or a device listens."""

from __future__ import annotations

from dataclasses import dataclass

from tracker.errors import TrackerError


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """A TCP end point; ``str()`` gives back what ``parse`` reads."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads ``HOST:PORT``; raises TrackerError for anything else."""
        host, colon, port = text.strip().rpartition(":")
        if not (colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise TrackerError(f"address {text!r} is not HOST:PORT; write it like 127.0.0.1:9190")
        return cls(host, int(port))
