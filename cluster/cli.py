"""The command line: ``blinknet``, the same as ``python -m cluster``.

What a command needs is imported when it runs: ``configure`` answers in well under a second because it loads
neither TVM nor Ray. Wrong input ends in one message and exit code 2.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.budget import UNLIMITED, Budget
from cluster.cli_access import add_access, served_access, state_access
from cluster.cli_fleet import add_fleet
from cluster.goal import OBJECTIVES
from tracker.cpus import CPUS
from tracker.levels import LEVELS

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

DEFAULT_TRACKER = "127.0.0.1:9190"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 1 (bounds not met or incomplete) or 2 (wrong input)."""
    options = _parser().parse_args(arguments)
    try:
        state_access(options)
        return int(options.command(options))
    except ValueError as error:
        if not _is_wrong_input(error):
            raise
        print(f"blinknet: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "blinknet: stopped; what was measured is kept, the same command goes on from here",
            file=sys.stderr,
        )
        return 130


def _is_wrong_input(error: ValueError) -> bool:
    """Our packages' own errors carry a message for users; any other ValueError is a bug and stays loud."""
    return type(error).__module__.partition(".")[0] in {
        "cluster",
        "workers",
        "runtime",
        "cost_model",
        "tracker",
        "network",
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="blinknet",
        description="Keep a network inside latency, memory, storage and accuracy bounds on every device.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_run(commands)
    _add_configure(commands)
    _add_verify(commands)
    _add_tracker(commands)
    _add_device(commands)
    _add_devices(commands)
    add_fleet(commands)
    return parser


def _add_demo(commands: Subparsers) -> None:
    demo = commands.add_parser(
        "demo", help="the whole job on this machine: CIFAR-10-quick on every x86 level"
    )
    demo.add_argument("--emulate", metavar="ARCH", help="on emulated devices instead, such as aarch64")
    demo.add_argument("--out", type=Path, default=Path("out"), help="output folder (default: out)")
    demo.set_defaults(command=_demo)


def _add_run(commands: Subparsers) -> None:
    run = commands.add_parser("run", help="configure a network for every device class of a run file")
    run.add_argument("run_file", type=Path)
    run.add_argument("--out", type=Path, default=Path("out"), help="output folder (default: out)")
    run.add_argument("--tracker", help="HOST:PORT of the fleet's tracker; overrides the run file")
    run.add_argument(
        "--budget",
        type=_budget,
        default=UNLIMITED,
        metavar="TIME|COUNT",
        help="the best answer after so long (90s, 5m, 2h), or after so many measurements (200)",
    )
    add_access(run)
    run.set_defaults(command=_run)


def _add_configure(commands: Subparsers) -> None:
    configure = commands.add_parser("configure", help="answer new bounds from what a run has measured")
    configure.add_argument("run", type=Path, help="folder of the run, OUT/RUN")
    configure.add_argument(
        "--bound",
        action="append",
        default=[],
        metavar="KIND=VALUE",
        help="latency=20%%, memory=1MiB, loss=1pp ...",
    )
    configure.add_argument(
        "--objective",
        choices=OBJECTIVES,
        help="what is to be least (default: as in the run)",
    )
    configure.add_argument("--device", help="only this CLASS or CLASS.UNIT")
    configure.add_argument(
        "--fewest", action="store_true", help="as few bundles as keep the bounds of all devices together"
    )
    configure.set_defaults(command=_configure)


def _add_verify(commands: Subparsers) -> None:
    verify = commands.add_parser("verify", help="run the bundles of a run on their devices again")
    verify.add_argument("run", type=Path, help="folder of the run, OUT/RUN")
    verify.add_argument("--tracker", help="HOST:PORT of the fleet's tracker (default: as in the run)")
    add_access(verify)
    verify.set_defaults(command=_verify)


def _add_tracker(commands: Subparsers) -> None:
    tracker = commands.add_parser("tracker", help="start the TVM RPC tracker that devices register with")
    tracker.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback only)")
    tracker.add_argument("--port", type=_port, default=9190)
    add_access(tracker, "the tracker's")
    tracker.set_defaults(command=_tracker)


def _add_device(commands: Subparsers) -> None:
    device = commands.add_parser("device", help="offer this machine as a device")
    device.add_argument("--tracker", default=DEFAULT_TRACKER, metavar="HOST:PORT")
    device.add_argument("--key", required=True, metavar="CLASS.UNIT")
    device.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback only)")
    device.add_argument("--port", type=_port, default=0, help="to listen on (default: a free one)")
    device.add_argument("--isa", choices=LEVELS, help="act as this x86 level at most")
    device.add_argument("--cores", type=_cores, help="cores to run on, such as 1 or 2,3")
    device.add_argument(
        "--emulate", choices=CPUS, metavar="CPU", help=f"be an emulated one: {', '.join(CPUS)}"
    )
    device.add_argument(
        "--emulated", action="store_true", help="say that this machine is itself an emulated one"
    )
    add_access(device, "this device's")
    device.set_defaults(command=_device)


def _add_devices(commands: Subparsers) -> None:
    devices = commands.add_parser("devices", help="who is there, what each device is, how it fares")
    devices.add_argument(
        "--tracker", metavar="HOST:PORT", help="default: the run's, else ray_config.yaml's, else loopback"
    )
    known = devices.add_mutually_exclusive_group()
    known.add_argument("--store", type=Path, help="measurement store with what happened to devices before")
    known.add_argument("--run", type=Path, help="folder of a run, OUT/RUN: its tracker and its store")
    devices.add_argument("--watch", action="store_true", help="keep looking until Ctrl-C")
    devices.add_argument("--probe", action="store_true", help="measure the fingerprints that are missing")
    devices.add_argument("--json", action="store_true", help="everything, as one JSON object a line")
    add_access(devices)
    devices.set_defaults(command=_devices)


def _cores(text: str) -> list[int]:
    cores = text.split(",")
    if not all(each.isascii() and each.isdigit() for each in cores):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of cores; write it like 1 or 2,3")
    return [int(each) for each in cores]


def _budget(text: str) -> Budget:
    try:
        return Budget.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is no port; write a number from 1 to 65535")
    return int(text)


def _demo(options: argparse.Namespace) -> int:
    from importlib.util import find_spec

    from cluster.errors import ClusterError

    spec = find_spec("examples")
    folders = list(spec.submodule_search_locations or []) if spec else []
    if not folders:
        raise ClusterError("the examples are not installed; run `make demo` in a clone of the project")
    folder = Path(folders[0]) / "cifar10_quick"
    options.run_file, options.tracker = _demo_file(folder, options.emulate), None
    options.budget = UNLIMITED
    return _run(options)


def _demo_file(folder: Path, architecture: str | None) -> Path:
    from cluster.errors import ClusterError

    if architecture is None:
        return folder / "run.yaml"
    there = {each.stem.removeprefix("emulated_"): each for each in sorted(folder.glob("emulated_*.yaml"))}
    if architecture not in there:
        raise ClusterError(f"there is no demo for an emulated {architecture}; choose from {', '.join(there)}")
    return there[architecture]


def _run(options: argparse.Namespace) -> int:
    from cluster.run import run
    from cluster.summary import print_outcome
    from cluster.tables import console

    screen = console()
    outcome = run(options.run_file, options.out, options.tracker, screen, options.budget)
    print_outcome(outcome, screen)
    return 0 if outcome.complete else 1


def _configure(options: argparse.Namespace) -> int:
    from cluster.configure import configure
    from cluster.tables import console
    from runtime.bounds import parse_bound

    bounds = [parse_bound(text) for text in options.bound]
    return configure(options.run, bounds, options.objective, options.device, console(), fewest=options.fewest)


def _verify(options: argparse.Namespace) -> int:
    from cluster.tables import console
    from cluster.verify import verify

    return verify(options.run, options.tracker, console())


def _tracker(options: argparse.Namespace) -> int:
    from tracker.access import is_loopback
    from tracker.tracker import listen, serve

    access = served_access(options)
    with listen(options.host, options.port) as listening:
        print(f"tracker at {options.host}:{options.port}; devices register with", flush=True)
        prove = "" if is_loopback(options.host) or access.allow_plaintext else " --credential CLASS.UNIT"
        print(
            f"  blinknet device --tracker {options.host}:{options.port} --key CLASS.UNIT{prove}", flush=True
        )
        serve(listening, access)
    return 0


def _device(options: argparse.Namespace) -> int:
    from tracker.address import Address
    from tracker.agent import serve
    from tracker.device import DeviceKey
    from tracker.emulation import serve_emulated

    key, access = DeviceKey.parse(options.key), served_access(options)
    tracker = Address.parse(options.tracker, access)
    if options.emulate:
        serve_emulated(tracker, key, options.emulate, options.host, options.cores)
    settings = {"port": options.port, "access": access, "emulated": options.emulated}
    serve(tracker, key, options.host, options.isa, options.cores, **settings)
    return 0


def _devices(options: argparse.Namespace) -> int:
    from cluster.devices_command import Show, devices
    from cluster.tables import console

    show = Show(options.watch, options.json, options.probe)
    return devices(options.tracker, options.store, options.run, console(), show)
