"""The real coordinator on a simulated fleet: nothing is lost, whatever goes wrong, and time passes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest

from cluster.coordinator import Coordinator
from cluster.events import Measured
from cluster.needs import Decision, Finished, NeedRun
from cluster.selection import Selection
from cluster.simulation import HostTimes, Simulation
from cost_model.measurement import Measurement
from cost_model.store import Store
from tracker.device import DeviceKey
from workers.simulated_device import Faults, SimulatedDevice, fleet
from workers.simulated_times import DrawnTimes, RecordedTimes

REQUESTS = [f"k{n}" for n in range(200)]
CHOSEN = Selection(("chosen",), ())
TIMES = DrawnTimes(seed=3)


class Run:
    """One simulated run of one class, with everything that its devices measured."""

    def __init__(self, units: int, faults: Faults, seed: int = 1, common: int = 0) -> None:
        self.devices = fleet(["lab"], units, {"lab": TIMES}, faults, seed, spread=0.2)
        self.coordinator = Coordinator(
            {"lab": REQUESTS}, ["conv1"], common={"lab": REQUESTS[:common]}, shared=["lab"], build_slots=4
        )
        self.measured: Counter[str] = Counter()
        self.log: list[tuple[float, Measured]] = []
        self.asked: Counter[str] = Counter()
        self.simulation = Simulation(self.coordinator, self.devices, self.decide, HostTimes(), self.note)
        self.simulation.run()

    def decide(self, device: str, _: Finished | None) -> Decision:
        self.asked[device] += 1
        return NeedRun(CHOSEN) if self.asked[device] == 1 else Finished("holds", CHOSEN)

    def note(self, now_s: float, event: Measured) -> None:
        self.measured.update(event.done)
        self.log.append((now_s, event))


def test_everything_is_measured_once_and_the_common_requests_by_everybody():
    run = Run(units=5, faults=Faults(), common=4)
    assert run.coordinator.finished
    assert run.measured == Counter({each: 5 if n < 4 else 1 for n, each in enumerate(REQUESTS)})
    assert set(run.coordinator.outcomes) == set(run.devices)


def test_the_clock_is_that_of_the_work():
    """One unit has all of it: the clock is at the sum of its sessions when it is through, or beyond."""
    run = Run(units=1, faults=Faults())
    (device,) = run.devices.values()
    timed_s = device.factor * TIMES.timing_s(REQUESTS) + len(run.log) * device.open_s
    end_s, _ = run.log[-1]
    assert end_s >= timed_s
    assert end_s - timed_s < HostTimes().link_s + HostTimes().kernel_s * 16 + HostTimes().evaluation_s


@pytest.mark.parametrize("seed", range(3))
def test_with_faults_what_is_not_measured_is_discarded(seed: int):
    deadly = frozenset(REQUESTS[50:53])
    faults = Faults(crash_share=0.02, deadly=deadly, loss_every_s=60.0, away_s=10.0)
    run = Run(units=6, faults=faults, seed=seed)
    tally = run.simulation.tally
    assert run.coordinator.finished
    assert tally.losses > 0
    assert tally.crashes >= 2 * tally.discarded >= 2 * len(deadly)
    assert max(run.measured.values()) == 1
    assert len(run.measured) == len(REQUESTS) - tally.discarded
    assert deadly.isdisjoint(run.measured)


def test_the_same_seed_gives_the_same_run():
    faults = Faults(crash_share=0.05, loss_every_s=30.0)
    assert Run(4, faults, seed=7).log == Run(4, faults, seed=7).log
    assert Run(4, faults, seed=7).log != Run(4, faults, seed=8).log


def test_a_fleet_that_is_gone_for_good_ends_the_simulation_with_work_left():
    run = Run(units=2, faults=Faults(loss_every_s=1.0, away_s=1e9))
    assert run.simulation.tally.losses >= 2
    assert run.simulation.now_s > 1e6 or not run.coordinator.finished


def test_recorded_times_are_those_of_a_store(tmp_path: Path):
    with Store(tmp_path / "store.sqlite") as store:
        store.append_measurements(
            Measurement(each, "lab", "t", "v", "lab.one", 10, (2e-3, 1e-3, 3e-3), converged=True)
            for each in REQUESTS
        )
        times = RecordedTimes(store.measurements("lab", "t", "v"), (5e-3, 4e-3, 6e-3))
    device = SimulatedDevice(DeviceKey("lab", "one"), times, Random(0))
    assert times.kernel_s("k0") == 2e-3
    assert device.attempt(REQUESTS[:2]).duration_s == pytest.approx(device.open_s + 2 * (0.01 + 10 * 6e-3))
