"""What a holder may tell TVM's tracker. Pure: a message in, the message that the tracker may see out."""

from __future__ import annotations

import re
from typing import Any, Final

from tracker.access import COORDINATOR
from tracker.credential import is_device
from tracker.device import DeviceKey
from tracker.errors import TrackerError
from tracker.wire import PENDING_MATCHKEYS, PUT, REQUEST, SUMMARY, UPDATE_INFO

_HOST: Final = re.compile(r"[A-Za-z0-9_.:%-]{1,253}")
_LONGEST_TEXT: Final = 256


class RefusedError(Exception):
    """The holder may not say that."""


def admitted(holder: str, host: str, message: Any) -> Any:
    """The message of a holder that called from ``host``, with the address filled in where it names none.

    A device registers its own key, a coordinator looks and asks; raises RefusedError for anything else.
    """
    if is_device(holder):
        return _of_device(holder, host, message)
    if holder == COORDINATOR:
        return _of_coordinator(message)
    raise RefusedError(f"{holder} has no business here")


def _of_device(key: str, host: str, message: Any) -> Any:
    match message:
        case [code] if code == PENDING_MATCHKEYS:
            return message
        case [code, {"key": name, "addr": [place, port]}] if code == UPDATE_INFO and name == f"server:{key}":
            return [code, {"key": name, "addr": [_host(place, host), _port(port)]}]
        case [code, name, [port, matchkey], *place] if code == PUT and name == key:
            announced = _host(place[0] if place else None, host)
            return [code, key, [_port(port), _matchkey(matchkey, key)], announced]
    raise RefusedError(f"{key} may only register itself")


def _of_coordinator(message: Any) -> Any:
    match message:
        case [code] if code == SUMMARY:
            return message
        case [code, str(name), str(user), int(priority)] if code == REQUEST and len(user) < _LONGEST_TEXT:
            return [code, _key(name), user, priority]
    raise RefusedError("a coordinator may only list devices and ask for one")


def _key(text: str) -> str:
    try:
        return str(DeviceKey.parse(text))
    except TrackerError as error:
        raise RefusedError(str(error)) from error


def _matchkey(value: Any, key: str) -> str:
    if isinstance(value, str) and value.startswith(f"{key}:") and len(value) < _LONGEST_TEXT:
        return value
    raise RefusedError("that is no match key")


def _host(value: Any, otherwise: str) -> str:
    if value is None:
        return otherwise
    if isinstance(value, str) and _HOST.fullmatch(value):
        return value
    raise RefusedError("that is no address")


def _port(value: Any) -> int:
    if isinstance(value, int) and 0 < value < 65536:
        return value
    raise RefusedError("that is no port")
