"""``blinknet fleet``: credentials for trackers, devices and coordinators, see ``docs/security.md``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from tracker.access import COORDINATOR, TRACKER
from tracker.credential import CREDENTIAL_LIFE, check_holder, is_device
from tracker.device import DeviceKey

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]
    from tracker.authority import Authority


def add_fleet(commands: Subparsers) -> None:
    """``fleet init``, ``add`` and ``revoke``."""
    fleet = commands.add_parser("fleet", help="make and revoke the credentials of a fleet")
    actions = fleet.add_subparsers(required=True, metavar="ACTION")
    init = _action(actions, "init", "a private authority, with credentials for tracker and coordinator")
    init.add_argument("--device", action="append", default=[], metavar="CLASS.UNIT", help="may be repeated")
    init.set_defaults(command=_init)
    add = _action(actions, "add", "a credential for one more device")
    add.add_argument("holders", nargs="+", metavar="CLASS.UNIT", help="or tracker, or coordinator")
    add.add_argument("--renew", action="store_true", help="make a new one where there is one")
    add.set_defaults(command=_add)
    revoke = _action(actions, "revoke", "refuse every credential that a holder ever had")
    revoke.add_argument("holders", nargs="+", metavar="CLASS.UNIT", help="or tracker, or coordinator")
    revoke.set_defaults(command=_revoke)
    for each in (init, add):
        each.add_argument(
            "--days", type=_days, default=CREDENTIAL_LIFE.days, help="how long credentials hold"
        )


def _action(actions: Subparsers, name: str, text: str) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=text)
    parser.add_argument("folder", type=Path, metavar="DIR", help="the authority's folder, for nobody else")
    return parser


def _days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days; write it like 365")
    return int(text)


def _init(options: argparse.Namespace) -> int:
    from tracker.authority import Authority

    devices = [str(DeviceKey.parse(each)) for each in options.device]
    authority = Authority.establish(options.folder)
    print(f"authority in {options.folder / 'authority'}, valid until {authority.ends:%Y-%m-%d}")
    _issue(authority, [TRACKER, COORDINATOR, *devices], options.days, renew=False)
    return 0


def _add(options: argparse.Namespace) -> int:
    from tracker.authority import Authority

    holders = [check_holder(each) for each in options.holders]
    _issue(Authority(options.folder), holders, options.days, renew=options.renew)
    return 0


def _issue(authority: Authority, holders: Sequence[str], days: int, *, renew: bool) -> None:
    for holder in holders:
        folder = authority.folder / holder
        if authority.has(holder) and not renew:
            print(f"kept {folder}")
            continue
        authority.issue(holder, timedelta(days=days))
        print(f"made {folder}, for {days} days; {_where(holder)}")


def _where(holder: str) -> str:
    if is_device(holder):
        return "copy it to that device alone"
    return "copy it to the tracker's machine" if holder == TRACKER else "copy it to every node of the cluster"


def _revoke(options: argparse.Namespace) -> int:
    from tracker.authority import Authority

    holders = [check_holder(each) for each in options.holders]
    authority = Authority(options.folder)
    for holder in holders:
        print(f"revoked {authority.revoke(holder)} certificates of {holder}")
    print(f"now replace authority.pem in every credential by that of {options.folder}/*/authority.pem")
    return 0
