"""The one place that opens connections to trackers and devices: plain on loopback, mutual TLS elsewhere."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import Final

from tracker.access import COORDINATOR
from tracker.address import Address
from tracker.credential import Credential, reason, verify_holder
from tracker.errors import TrackerError

_HOW: Final = (
    "name a credential with --credential, BLINKNET_CREDENTIAL, or credential below metadata.blinknet in "
    "ray_config.yaml; `blinknet fleet init` makes them; stock servers need --allow-plaintext"
)


class NotAdmittedError(OSError):
    """One side does not trust the other; trying again does not help."""


def connect(address: Address, timeout_s: float, ours: str = COORDINATOR) -> socket.socket:
    """A connection to the tracker or the device at the address, with the time-out set.

    ``ours`` is who we must be: a coordinator, or a device for its tracker. Raises NotAdmittedError where TLS
    fails on either side, any other OSError where nobody answers. A server that refuses us may only say so
    when it is first read from: see ``admission``.
    """
    credential = _credential(address, ours) if address.tls else None
    connection = socket.create_connection((address.host, address.port), timeout_s)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if credential is None:
            return connection
        with admission(address):
            secured = credential.client_context().wrap_socket(connection)
            verify_holder(secured, address.holder)
    except BaseException:
        connection.close()
        raise
    return secured


@contextlib.contextmanager
def admission(address: Address) -> Iterator[None]:
    """Around the first words of a connection, which is when a TLS 1.3 client learns that it is refused.

    Raises NotAdmittedError where the reason is told, ConnectionError where the other side only hangs up.
    """
    try:
        yield
    except (ssl.SSLEOFError, ConnectionError) as error:
        if not address.tls:
            raise
        raise ConnectionError(
            f"{address} hangs up at once, as it does on a credential that it does not accept "
            f"({address.access.credential}); its own output says why"
        ) from error
    except ssl.SSLError as error:
        whose = f"with the credential {address.access.credential}"
        raise NotAdmittedError(f"{address} and we do not agree {whose}: {reason(error)}") from error


def _credential(address: Address, ours: str) -> Credential:
    if address.access.credential is None:
        raise NotAdmittedError(f"{address} is on another machine and reached through TLS alone; {_HOW}")
    try:
        return Credential.open(address.access.credential).of(ours)
    except TrackerError as error:
        raise NotAdmittedError(str(error)) from error
