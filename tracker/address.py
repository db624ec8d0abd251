"""Where a tracker or a device listens, and how it is reached."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tracker.access import TRACKER, Access
from tracker.errors import TrackerError


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """A TCP end point; ``str()`` gives back what ``parse`` reads."""

    host: str
    port: int
    access: Access = field(default=Access(), compare=False)
    holder: str = field(default=TRACKER, compare=False)
    """Who must be there, where it is reached through TLS: a device's key, or the tracker."""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def tls(self) -> bool:
        """Whether it is reached through TLS."""
        return self.access.speaks_tls(self.host)

    def beside(self, host: str, port: int, holder: str) -> Address:
        """Where the tracker here says that ``holder`` is: behind TLS nothing leads back to plaintext."""
        return Address(host, port, replace(self.access, loopback_too=self.tls), holder)

    @classmethod
    def parse(cls, text: str, access: Access | None = None) -> Address:
        """Reads ``HOST:PORT``; raises TrackerError for anything else."""
        host, colon, port = text.strip().rpartition(":")
        if not (colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise TrackerError(f"address {text!r} is not HOST:PORT; write it like 127.0.0.1:9190")
        return cls(host, int(port), access or Access())
