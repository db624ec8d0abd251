"""A session: exclusive use of one device for a while.

TVM's client blocks for ever in more than one case, and a blocked thread cannot be killed. So a session lives
in a process of its own, which can; every call has a deadline.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from tracker import answers
from tracker.address import Address
from tracker.clocked import ClockedNetwork, ClockedTimes
from tracker.conversation import Conversation, nothing
from tracker.device import Description, DeviceKey
from tracker.errors import TrackerError
from tracker.failure import Failure, SessionFailed
from tracker.inventory import registered
from tracker.liveness import SILENCES, Watchdog
from tracker.liveness import answers as gives_a_sign
from tracker.memory_limit import Footprint
from tracker.timing import Argument, Timing, TimingPolicy, TimingRequest

Shape = tuple[int, ...]
T = TypeVar("T")
_GRACE_S: Final = 3.0
SLOWEST_LINK_BYTES_S: Final = 50_000
"""What a link to a device must carry; a transfer may take so long on top of its deadline."""


class Session:
    """A device that is ours until ``close``; a context manager.

    Laws: not for two threads at once. After any SessionFailed the session is over: its process is killed,
    the device is free for others, and every further call raises the same failure.
    """

    def __init__(self, key: DeviceKey, conversation: Conversation) -> None:
        self.key = key
        self._conversation = conversation
        self._fresh = True
        self._outputs: dict[str, tuple[Shape, ...]] = {}

    @classmethod
    def open(
        cls, address: Address, key: DeviceKey, deadline_s: float = 20.0, session_timeout_s: float = 600.0
    ) -> Session:
        """Asks the tracker at ``address`` for the device and waits for it while others use it.

        The device ends the session after ``session_timeout_s``. Raises SessionFailed: ``tracker`` when that
        does not answer, ``unreachable`` within seconds when no such device is registered or it gives no sign
        of life, ``busy`` when it is not free within ``deadline_s``.
        """
        _check_there(address, key)
        conversation = Conversation(str(key))
        until = time.monotonic() + deadline_s
        try:
            patience_s = deadline_s + _GRACE_S
            request = (address, str(key), until, session_timeout_s)
            place = conversation.ask("open", *request, deadline_s=patience_s, check=answers.place)
        except BaseException:
            conversation.close()
            raise
        if place is not None:
            conversation.watch(Watchdog(address.beside(*place, str(key))))
        return cls(key, conversation)

    @property
    def pid(self) -> int:
        """Of the session's process on this machine."""
        return self._conversation.pid

    def describe(self, *, deadline_s: float = 20.0) -> Description:
        """What the device says about itself."""
        text = self._conversation.ask("describe", deadline_s=deadline_s, check=answers.text)
        try:
            return Description.from_json(text)
        except TrackerError as error:
            raise self._conversation.fail("refused", str(error), "describe") from error

    def answers(self, *, deadline_s: float = 2.0) -> bool:
        """Whether the session can still be used."""
        try:
            return self._conversation.ask("answered", deadline_s=deadline_s, check=bool)
        except SessionFailed:
            return False

    def stream_timings(
        self, library: Path, requests: Sequence[TimingRequest], policy: TimingPolicy | None = None
    ) -> Iterator[Timing | Failure]:
        """Yields one result a request, in order and as soon as it is known; never raises SessionFailed.

        The library is uploaded once a session. A function that the library lacks is ``refused``, and the next
        one is timed; any other failure ends the session, and the requests after it are ``skipped``. So does
        leaving the iterator early.
        """
        return self._stream(_existing(library), requests, policy or TimingPolicy())

    def time_functions(
        self, library: Path, requests: Sequence[TimingRequest], policy: TimingPolicy | None = None
    ) -> list[Timing | Failure]:
        """All of ``stream_timings``: as many results as requests."""
        return list(self.stream_timings(library, requests, policy))

    def load_network(
        self,
        name: str,
        library: Path,
        parameters: Sequence[NDArray[Any]],
        inputs: Sequence[Shape],
        outputs: Sequence[Shape],
        *,
        deadline_s: float = 60.0,
    ) -> None:
        """Loads a relax library under ``name`` and sends its parameters to the device.

        Shapes are those of one sample of each input and output: the library's ``main(*inputs, *parameters)``
        takes ``(1, *shape)`` of each, and returns such a tensor or a tuple of several, all float32.
        """
        arguments = (name, _existing(library), list(parameters), list(inputs), list(outputs))
        allowed_s = deadline_s + transfer_s(_size(library, parameters))
        self._ask("load_network", *arguments, deadline_s=allowed_s)
        self._outputs[name] = tuple(outputs)

    def time_networks(
        self, names: Sequence[str], rounds: int, repeats: int, *, deadline_s: float = 120.0
    ) -> dict[str, tuple[float, ...]]:
        """Raw seconds of ``rounds * repeats`` single inferences of each loaded network, after warming up.

        The networks take turns, ``repeats`` inferences at a time.
        """
        check = partial(answers.timings, names=names, count=rounds * repeats)
        arguments = (list(names), rounds, repeats)
        return self._ask("time_networks", *arguments, deadline_s=deadline_s, check=check)

    def time_clocked(
        self,
        library: Path,
        networks: Sequence[ClockedNetwork],
        rounds: int,
        repeats: int,
        *,
        deadline_s: float = 120.0,
    ) -> tuple[ClockedTimes, ...]:
        """Raw seconds of each kernel of networks that read a clock, in ``rounds * repeats`` runs of each.

        The networks take turns, ``repeats`` runs at a time and one before them that does not count. Inputs
        and parameters are filled on the device: what a kernel takes does not depend on what is in them.
        """
        check = partial(answers.clocked, networks=networks, runs=rounds * repeats)
        arguments = (_existing(library), [each.plain for each in networks], rounds, repeats)
        allowed_s = deadline_s + transfer_s(_size(library))
        return self._ask("time_clocked", *arguments, deadline_s=allowed_s, check=check)

    def predict(
        self, name: str, inputs: Sequence[NDArray[Any]], *, deadline_s: float = 120.0
    ) -> tuple[NDArray[np.float32], ...]:
        """Answers ``(n, *shape)`` of each output of a loaded network to samples of each input."""
        allowed_s = deadline_s + transfer_s(sum(each.nbytes for each in inputs))
        shapes = [(len(inputs[0]), *each) for each in self._outputs[name]]
        check = partial(answers.arrays, shapes=shapes)
        return self._ask("predict", name, list(inputs), deadline_s=allowed_s, check=check)

    def measure_peak(
        self,
        library: Path,
        parameters: Sequence[NDArray[Any]],
        inputs: Sequence[Shape],
        outputs: Sequence[Shape],
        *,
        deadline_s: float = 60.0,
    ) -> int:
        """Bytes that loading and running the network adds to the device's process, see ``tracker.footprint``.

        Shapes as for ``load_network``. Raises TrackerError unless the session has only described its device.
        """
        arguments = (_existing(library), list(parameters), list(inputs), list(outputs))
        allowed_s = deadline_s + 2 * transfer_s(_size(library, parameters))
        return self._ask_fresh("measure_peak", *arguments, deadline_s=allowed_s, check=answers.byte_count)

    def interrupt(self) -> None:
        """From any thread, at any time: whatever another one awaits from the device fails at once."""
        self._conversation.interrupt()

    def run_within(
        self,
        library: Path,
        parameters: Sequence[NDArray[Any]],
        inputs: Sequence[Shape],
        outputs: Sequence[Shape],
        limit_bytes: int,
        runs: int,
        *,
        deadline_s: float = 60.0,
    ) -> Footprint:
        """``measure_peak``, and ``runs`` inferences more, in a process that may have no more than the limit.

        A network that needs more is ``refused``, or its session ends in a ``crash``.
        """
        arguments = (_existing(library), list(parameters), list(inputs), list(outputs), limit_bytes, runs)
        allowed_s = deadline_s + 2 * transfer_s(_size(library, parameters))
        return self._ask_fresh("run_within", *arguments, deadline_s=allowed_s, check=answers.footprint)

    def close(self) -> None:
        """Frees the device; may be called twice."""
        self._conversation.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(
        self, operation: str, *arguments: Any, deadline_s: float, check: Callable[[Any], T] = nothing
    ) -> T:
        self._fresh = False
        return self._conversation.ask(operation, *arguments, deadline_s=deadline_s, check=check)

    def _ask_fresh(self, operation: str, *arguments: Any, deadline_s: float, check: Callable[[Any], T]) -> T:
        """What counts memory: nothing may have been loaded before. Raises TrackerError."""
        if not self._fresh:
            raise TrackerError(f"{operation} needs a fresh session; open another one with Session.open")
        return self._ask(operation, *arguments, deadline_s=deadline_s, check=check)

    def _stream(
        self, library: Path, requests: Sequence[TimingRequest], policy: TimingPolicy
    ) -> Iterator[Timing | Failure]:
        self._fresh = False
        waiting = deque(requests)
        settled = False
        try:
            self._conversation.send("time_functions", library, [_plain(each) for each in requests], policy)
            upload_s = transfer_s(_size(library))
            while waiting:
                yield self._timing(waiting[0], policy, upload_s)
                waiting.popleft()
                upload_s = 0.0
            self._conversation.receive("time_functions", policy.deadline_s)
            settled = True
        except SessionFailed as failed:
            settled = True
            yield from self._after(failed.failure, list(waiting))
        finally:
            if not settled:
                self._conversation.fail("skipped", "the timings were not read to their end", "time_functions")

    def _timing(self, request: TimingRequest, policy: TimingPolicy, upload_s: float) -> Timing | Failure:
        operation = f"time {request.symbol}"

        def check(item: Any) -> Timing | Failure:
            if isinstance(item, str):
                message = answers.text(item, answers.LONGEST_MESSAGE)
                return Failure("refused", message, str(self.key), operation)
            return answers.timing(item, request.symbol, max(2, policy.max_repeats))

        return self._conversation.receive(operation, policy.deadline_s + upload_s, check)

    def _after(self, failure: Failure, waiting: Sequence[TimingRequest]) -> Iterator[Failure]:
        """The results of the request that was running and of those behind it."""
        yield from [failure][: len(waiting)]
        for request in waiting[1:]:
            message = f"'{failure.operation}' ended the session"
            yield Failure("skipped", message, str(self.key), f"time {request.symbol}")


def _plain(request: TimingRequest) -> tuple[str, list[Argument]]:
    """Without classes that the session's process does not know."""
    return request.symbol, [Argument(tuple(each.shape), each.dtype, each.fill) for each in request.arguments]


def _check_there(address: Address, key: DeviceKey) -> None:
    """Raises SessionFailed unless the device is registered and, when free, gives a sign of life."""
    try:
        known = registered(address)
    except TrackerError as error:
        raise SessionFailed(Failure("tracker", str(error), str(key), "open")) from error
    found = [each for each in known if each.key == str(key)]
    if not found:
        names = ", ".join(each.key for each in known) or "no device"
        message = f"not registered with the tracker at {address}, which has {names}; "
        message += f"`blinknet device --tracker {address} --key {key}` registers it"
        raise SessionFailed(Failure("unreachable", message, str(key), "open"))
    if all(each.state == "free" and not _alive(each.address) for each in found):
        message = f"registered, but nothing answers at {found[0].address}; is it frozen, or its network cut?"
        raise SessionFailed(Failure("unreachable", message, str(key), "open"))


def _alive(device: Address) -> bool:
    return any(gives_a_sign(device) for _ in range(SILENCES))


def transfer_s(size: int) -> float:
    """Seconds that so many bytes take on the slowest link that we put up with."""
    return size / SLOWEST_LINK_BYTES_S


def _size(library: Path, parameters: Sequence[NDArray[Any]] = ()) -> int:
    return library.stat().st_size + sum(each.nbytes for each in parameters)


def _existing(library: Path) -> Path:
    if not library.is_file():
        raise TrackerError(f"there is no library {library}; build it first")
    return library.resolve()
