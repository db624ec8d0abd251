"""``--credential`` and ``--allow-plaintext``: how the command line says what ``tracker.access`` needs."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tracker.access import CREDENTIAL_VARIABLE, PLAINTEXT_VARIABLE, Access


def add_access(parser: argparse.ArgumentParser, whose: str = "a coordinator's") -> None:
    """The two options; without them the environment's variables count, then ``ray_config.yaml``."""
    parser.add_argument(
        "--credential", type=Path, metavar="DIR", help=f"folder of {whose} credential, see `blinknet fleet`"
    )
    parser.add_argument(
        "--allow-plaintext", action="store_true", help="do without TLS, for stock TVM servers and clients"
    )


def state_access(options: argparse.Namespace) -> None:
    """What an option says, as the environment's variable would have said it: one place reads both."""
    if (credential := getattr(options, "credential", None)) is not None:
        os.environ[CREDENTIAL_VARIABLE] = str(credential.absolute())
    if getattr(options, "allow_plaintext", False):
        os.environ[PLAINTEXT_VARIABLE] = "1"


def served_access(options: argparse.Namespace) -> Access:
    """For a tracker or a device that listens on ``--host``; warns of plaintext.

    Raises TrackerError where others could reach it without proving who they are.
    """
    access = Access.stated(Access())
    access.check_listening(options.host)
    if warning := access.warning(options.host):
        print(warning, file=sys.stderr, flush=True)
    return access
