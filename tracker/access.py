"""How this process may reach, and be reached by, the others of a fleet. Pure but for the environment.

Plaintext stays on loopback. Everything else is mutual TLS, unless plaintext was allowed in so many words.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tracker.errors import TrackerError

TRACKER: Final = "tracker"
COORDINATOR: Final = "coordinator"
CREDENTIAL_VARIABLE: Final = "BLINKNET_CREDENTIAL"
PLAINTEXT_VARIABLE: Final = "BLINKNET_ALLOW_PLAINTEXT"


@dataclass(frozen=True, slots=True)
class Access:
    """A credential's folder, where there is one; never the key itself, so that it can be sent to others."""

    credential: Path | None = None
    allow_plaintext: bool = False
    loopback_too: bool = False
    """TLS on loopback as well: what a tracker names that was reached through TLS is reached like it."""

    def speaks_tls(self, host: str) -> bool:
        """Whether connections to or from ``host`` are TLS."""
        return not self.allow_plaintext and (self.loopback_too or not is_loopback(host))

    def check_listening(self, host: str) -> None:
        """Raises TrackerError where a server may not listen on ``host``."""
        if not self.speaks_tls(host) or self.credential is not None:
            return
        if is_loopback(host):
            raise TrackerError(
                "a tracker on another machine takes devices with a credential only; name one of those that "
                "`blinknet fleet init` makes with --credential, or insist with --allow-plaintext"
            )
        raise TrackerError(
            f"{host} can be reached from other machines, and TVM RPC runs what anybody sends it; "
            "name a credential (`blinknet fleet init` makes them) with --credential, listen on "
            "127.0.0.1, or insist with --allow-plaintext"
        )

    def warning(self, host: str) -> str | None:
        """What to tell whoever allowed plaintext where it matters."""
        if not self.allow_plaintext or is_loopback(host):
            return None
        return f"WARNING: plaintext on {host}: whoever reaches the port runs native code on the devices"

    @classmethod
    def stated(cls, otherwise: Access, environment: Mapping[str, str] = os.environ) -> Access:
        """What the environment says, for each thing that it is silent about ``otherwise``'s."""
        credential = environment.get(CREDENTIAL_VARIABLE)
        return cls(
            Path(credential).expanduser() if credential else otherwise.credential,
            environment.get(PLAINTEXT_VARIABLE) == "1" or otherwise.allow_plaintext,
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can be meant; of names, only localhost is known to."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
