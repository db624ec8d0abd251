"""Watches over the devices of a run: who may work, who is out of reach, who is kept away; tells their story.

A failure is nobody's fault, the link's or the device's. Only what repeats is held against a device, and then
it is left alone for a while rather than for ever: boards reboot, and people mend cables.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from cluster.errors import ClusterError
from cluster.fleet import Changes, Fleet, Sight
from tracker.device import Description, DeviceKey
from tracker.failure import Failure

LOOK_EVERY_S: Final = 1.5
STRIKES: Final = 3
"""Sessions in a row that gave nothing before a device is kept away for a while."""
NOBODYS_FAULT: Final = ("tracker", "busy")
"""Failures that say nothing about the device."""
OUT_OF_REACH: Final = ("tracker", "unreachable")
"""Failures after which there is no sense in opening the next session at once."""
TRACKER: Final = "tracker"
"""Under this name the story tells of the tracker."""

Tell = Callable[[str, str, str], None]
"""Writes down what happened: device, kind, reason."""


class Watch:
    """Over one fleet. Looks take seconds where devices are silent, so they are taken in a thread."""

    def __init__(self, fleet: Fleet, tell: Tell, tracker_patience_s: float) -> None:
        self._fleet = fleet
        self._tell = tell
        self._tracker_patience_s = tracker_patience_s
        self._strikes: Counter[str] = Counter()
        self._looks = ThreadPoolExecutor(1, "fleet")
        self._look: Future[Sight] | None = None
        self._next_look = 0.0
        self.tracker_away = False

    def changes(self) -> Changes | None:
        """Who has come and gone, where a look is through.

        Raises ClusterError when the tracker was away for too long.
        """
        if self._look is None and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + LOOK_EVERY_S
            self._look = self._looks.submit(self._fleet.look)
        if self._look is None or not self._look.done():
            return None
        sight, self._look = self._look.result(), None
        changes = self._fleet.changes(sight)
        for key, reason in sorted(changes.lost.items()):
            self._tell(str(key), "lost", reason)
        self._mind_the_tracker()
        return changes

    def admit(self, key: DeviceKey, description: Description, lacks: tuple[str, ...]) -> bool:
        """Whether a device that has just described itself may work; not without features that it needs."""
        if lacks:
            self._fleet.ban(key)
            reason = f"it lacks {', '.join(lacks)}, which its class is compiled for; give it another class"
            self._tell(str(key), "quarantined", reason)
            return False
        if description.agent == "blinknet":
            self._fleet.listen_to(key)
        kind = "released" if self._fleet.pardon(key) else "joined"
        self._tell(str(key), kind, f"{description.cpu}, {description.agent} agent")
        return True

    def failed(self, device: str, failure: Failure, *, stuck: bool) -> bool:
        """Writes a failure down; whether the device is now out of reach until it is seen again.

        ``stuck``: the session gave nothing.
        """
        out_of_reach = stuck and failure.kind in OUT_OF_REACH
        self._tell(device, "lost" if out_of_reach else "fault", str(failure))
        if failure.kind not in NOBODYS_FAULT:
            self._strikes[device] = self._strikes[device] + 1 if stuck else 0
        if not out_of_reach:
            return False
        self._fleet.let_return(DeviceKey.parse(device), heard=failure.kind == "unreachable")
        return True

    def let_return(self, device: str) -> None:
        """Let a device join again as soon as it is seen."""
        self._fleet.let_return(DeviceKey.parse(device))

    def worked(self, device: str) -> None:
        """A session gave what it was asked for."""
        self._strikes[device] = 0

    def quarantined(self) -> dict[DeviceKey, str]:
        """Devices that from now on are kept away for a while, with the reason."""
        unusable = [device for device, strikes in self._strikes.items() if strikes >= STRIKES]
        return {DeviceKey.parse(device): self._quarantine(device) for device in unusable}

    def close(self) -> None:
        """Look no more."""
        self._looks.shutdown(wait=False, cancel_futures=True)

    def _quarantine(self, device: str) -> str:
        del self._strikes[device]
        seconds = self._fleet.quarantine(DeviceKey.parse(device))
        reason = f"{STRIKES} sessions in a row gave nothing; it is left alone for {seconds:.0f} s"
        self._tell(device, "quarantined", reason)
        return reason

    def _mind_the_tracker(self) -> None:
        away_s = self._fleet.tracker_away_s
        if (away_s > 0) != self.tracker_away:
            self.tracker_away = not self.tracker_away
            kind, reason = ("lost", "it does not answer") if self.tracker_away else ("joined", "it answers")
            self._tell(TRACKER, kind, reason)
        if away_s > self._tracker_patience_s:
            raise ClusterError(
                f"no tracker has answered at {self._fleet.tracker} for {away_s:.0f} s; start it again with "
                "`blinknet tracker` and run the same command: what was measured is kept"
            )
