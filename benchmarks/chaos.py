"""A job under faults at random: ``python -m benchmarks.chaos [--minutes 5] [--seed N] [--quick]``.

Six boards of up to three classes, each a real agent with a network namespace and a disk of its own, and the
command `blinknet run` on them. Three hands break things, each another board, while what concerns everybody
(tracker, driver) is broken alone. Each fault must be noticed within ten seconds: by the story that the run
keeps of its devices, or by whoever has to notice it. What was broken is mended, the job goes on, and at the
end nothing measured may be missing, counted twice or recorded as failed, and no process may be left.

Faults of network and disk take root; without it they are left out and the table says so.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from benchmarks.chaos_faults import FAULTS, LONG_OUTAGE, Fault, World
from benchmarks.chaos_run import ChaosRun, Row
from benchmarks.shelf import Board, Shelf
from cluster.embedded import local_classes
from cluster.tables import console, plain_table
from tracker.device import DeviceKey

UNITS = 2
HANDS = 3
NOTICED_S = 10.0
PAUSE_S = 0.5
START_S = 120.0
FINISH_S = 900.0
LONG_OUTAGE_FROM_MINUTES = 4.0


@dataclass(frozen=True, slots=True)
class Incident:
    """A fault that was made, and how long it took until somebody noticed; None: nobody did."""

    fault: str
    device: str
    at_s: float
    noticed_s: float | None
    story: tuple[str, ...] = ()
    """What the run told meanwhile, where nobody noticed."""


@dataclass
class Books:
    """What must not be lost: every measurement that was ever seen."""

    seen: dict[tuple[str, int], Row] = field(default_factory=dict)

    def look(self, run: ChaosRun) -> None:
        """Enter what the present job's store holds."""
        store = str(run.store)
        self.seen.update({(store, row.number): row for row in run.rows()})

    def missing(self, run: ChaosRun) -> int:
        """Of the present job: entered before and no longer there, or recorded as failed."""
        store, there = str(run.store), {row.number for row in run.rows()}
        gone = [number for path, number in self.seen if path == store and number not in there]
        return len(gone)

    def failed(self) -> int:
        """Kernels that were given up although nothing is wrong with them."""
        return sum(not row.timed for row in self.seen.values())

    def doubled(self) -> int:
        """Kernels that one device measured more than once."""
        counts = Counter((store, row.kernel, row.device) for (store, _), row in self.seen.items())
        return sum(count - 1 for count in counts.values())


class Chaos:
    """Hands that break, one who mends, and the books."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.incidents: list[Incident] = []
        self.lost = 0
        self.late = 0
        """Faults that nobody could notice: the job was through before."""
        self.books = Books()
        self._quiet = threading.Lock()
        self._in_use: set[DeviceKey] = set()
        self._choice = threading.Lock()
        self._stop = threading.Event()

    def play(self, seconds: float, *, long_outage: bool) -> bool:
        """Breaks things for so long, then waits for the job to end; whether all jobs were completed."""
        hands = [threading.Thread(target=self._break_things, args=(number,)) for number in range(HANDS)]
        self._wait_for_work()
        until = time.monotonic() + seconds
        for hand in hands:
            hand.start()
        planned = time.monotonic() + seconds / 3
        while time.monotonic() < until:
            self._tend(more=True)
            if long_outage and time.monotonic() > planned:
                long_outage = False
                threading.Thread(target=self._alone, args=(LONG_OUTAGE,)).start()
        self._stop.set()
        for hand in hands:
            hand.join()
        give_up_at = time.monotonic() + FINISH_S
        while self._tend(more=False) and time.monotonic() < give_up_at:
            pass
        return not self.world.run.failed and self.world.run.driver is None

    def _wait_for_work(self) -> None:
        until = time.monotonic() + START_S
        while self._tend(more=False) and not self.world.run.working() and time.monotonic() < until:
            pass

    def _tend(self, *, more: bool) -> bool:
        run = self.world.run
        self.books.look(run)
        self.lost = max(self.lost, self.books.missing(run))
        busy = run.tend(more=more)
        time.sleep(0.2)
        return busy

    def _break_things(self, number: int) -> None:
        random = Random(self.world.random.random() + number)
        deck: list[Fault] = []
        while not self._stop.is_set():
            if not deck:
                deck = [each for each in FAULTS if self.world.shelf.privileged or not each.privileged]
                random.shuffle(deck)
            fault = deck.pop()
            made = self._alone(fault) if fault.alone else self._on_a_board(fault, random)
            if not made and not fault.alone and random.random() < 0.9:
                deck.insert(0, fault)
            self._stop.wait(PAUSE_S)

    def _on_a_board(self, fault: Fault, random: Random) -> bool:
        with self._choice:
            if self._quiet.locked() or not self.world.run.working():
                return False
            boards = [each for each in self.world.shelf.boards.values() if self._usable(each)]
            random.shuffle(boards)
            fitting = [each for each in boards if not fault.at_work or each.session() is not None]
            if not fitting:
                return False
            board = fitting[0]
            self._in_use.add(board.key)
        try:
            return self._make(fault, board)
        finally:
            self._in_use.discard(board.key)

    def _alone(self, fault: Fault) -> bool:
        with self._quiet:
            while self._in_use:
                time.sleep(0.1)
            if not self.world.run.working():
                return False
            return self._make(fault, next(iter(self.world.shelf.boards.values())))

    def _make(self, fault: Fault, board: Board) -> bool:
        job = self.world.run.job
        made = fault.make(self.world, board)
        if made is None:
            return False
        noticed = made.noticed()
        while not noticed and time.time() < made.at_s + NOTICED_S + 1.0:
            time.sleep(0.1)
            noticed = made.noticed()
        took_s = time.time() - made.at_s if noticed else None
        if noticed or self.world.run.job == job:
            story = () if noticed else self._story_since(made.at_s - NOTICED_S)
            self.incidents.append(Incident(fault.name, str(board.key), made.at_s, took_s, story))
        else:
            self.late += 1
        made.undo()
        return True

    def _story_since(self, at_s: float) -> tuple[str, ...]:
        now = time.time()
        return tuple(
            f"{now - each.at_s:.1f} s ago: {each.device} {each.kind}, {each.reason}"
            for each in self.world.run.story()
            if each.at_s >= at_s
        )

    def _usable(self, board: Board) -> bool:
        """Up, taking part in what the driver of now does, and not in another hand."""
        run, device = self.world.run, str(board.key)
        events = [each.kind for each in run.story() if each.device == device and each.at_s > run.started_s]
        states = [kind for kind in events if kind in ("joined", "released", "lost", "quarantined")]
        return board.key not in self._in_use and board.up and states[-1:] in (["joined"], ["released"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table and, as the last line, one JSON object; 0 where nothing was lost."""
    options = _parser().parse_args(arguments)
    # Started in the background it is ignored, and would be by the drivers that Ctrl-C is tried on.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    minutes = 0.75 if options.quick else options.minutes
    with TemporaryDirectory(prefix="blinknet-chaos-") as folder, Shelf() as shelf:
        core = str(max(os.sched_getaffinity(0)))
        classes = local_classes()
        for name in classes:
            for unit in range(max(UNITS, -(-6 // len(classes)))):
                shelf.add(DeviceKey(name, f"unit-{unit + 1}"), "--isa", name, "--cores", core)
        for board in shelf.boards.values():
            board.wait()
        run = ChaosRun(Path(folder), shelf.tracker, classes)
        chaos = Chaos(World(shelf, run, Random(options.seed)))
        completed = chaos.play(60 * minutes, long_outage=minutes >= LONG_OUTAGE_FROM_MINUTES)
        figures = figures_of(chaos, completed)
        _print(chaos, figures)
    print(json.dumps(figures))
    return 0 if completed and not figures["measurements_lost"] and not figures["orphans"] else 1


def figures_of(chaos: Chaos, completed: bool) -> dict[str, object]:
    """What the last line says."""
    noticed = [each.noticed_s for each in chaos.incidents if each.noticed_s is not None]
    run = chaos.world.run
    return {
        "faults": len(chaos.incidents),
        "kinds": len({each.fault for each in chaos.incidents}),
        "detected_within_10s": 0 < len(noticed) == len(chaos.incidents) and max(noticed) <= NOTICED_S,
        "slowest_detection_s": round(max(noticed, default=0.0), 1),
        "measurements": sum(row.timed for row in chaos.books.seen.values()),
        "measurements_lost": chaos.lost + chaos.books.failed(),
        "measurements_doubled": chaos.books.doubled(),
        "orphans": _orphans(run),
        "run_completed": completed,
        "too_late": chaos.late,
        "jobs": len(run.finished),
        "starts": run.starts,
    }


def _orphans(run: ChaosRun) -> int:
    """Processes that outlive the last driver, after a moment's grace."""
    until = time.monotonic() + 15.0
    while run.processes() and time.monotonic() < until:
        time.sleep(0.2)
    return len(run.processes())


def _print(chaos: Chaos, figures: dict[str, object]) -> None:
    screen = console()
    table = plain_table("fault", "times", "noticed", "slowest")
    for name in (*(each.name for each in FAULTS), LONG_OUTAGE.name):
        of_kind = [each for each in chaos.incidents if each.fault == name]
        noticed = [each.noticed_s for each in of_kind if each.noticed_s is not None]
        slowest = f"{max(noticed):.1f} s" if noticed else ""
        table.add_row(name, str(len(of_kind)), str(len(noticed)), slowest)
    screen.print(table)
    for each in chaos.incidents:
        if each.noticed_s is None:
            screen.print(f"not noticed: {each.fault} on {each.device}; the story around it:", markup=False)
            for event in each.story:
                screen.print(f"  {event}", markup=False)
    for text in chaos.world.run.failed:
        screen.print(f"a job did not end well:\n{text}", markup=False)
    if not chaos.world.shelf.privileged:
        screen.print("without root: no faults of network and disk")
    screen.print(", ".join(f"{name} {value}" for name, value in figures.items()), markup=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description="A job under faults.")
    parser.add_argument("--minutes", type=float, default=5.0, help="of breaking things (default: 5)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="three quarters of a minute of it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
