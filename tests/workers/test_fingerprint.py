"""Fingerprints of real devices, with the kernels of their class."""

from dataclasses import replace

import pytest

from cost_model.device_event import DeviceEvent
from cost_model.fingerprint import fingerprint_of, known_fingerprint
from network.target import Target
from tracker.address import Address
from tracker.device import Description, DeviceKey
from tracker.failure import Failure
from workers.device import DeviceDriver
from workers.fingerprint_kernels import (
    LARGEST_BUFFER,
    SHARE_OF_MEMORY,
    FingerprintLibrary,
    buffer_bytes,
    build_fingerprint,
)

MEMORY_BYTES = 64 << 20


@pytest.fixture(scope="module")
def library() -> FingerprintLibrary:
    return build_fingerprint(Target.host(), buffer_bytes(MEMORY_BYTES), ())


def test_a_device_s_rates_are_measured_and_kept_with_what_it_says(
    tracker: Address, device: DeviceKey, library: FingerprintLibrary
) -> None:
    driver = DeviceDriver(tracker, device)
    event, description = driver.fingerprint(library), driver.describe()
    assert isinstance(event, DeviceEvent)
    assert isinstance(description, Description)
    assert (event.device, event.kind) == (str(device), "fingerprint")
    found = known_fingerprint([event], description)
    assert found is not None
    assert found == fingerprint_of(event)
    # Whatever the machine: integers are not slower than floats here, and a call is no millisecond.
    assert found.int8_gops > 0.5 * found.float32_gflops
    assert found.call_s < 1e-3


def test_the_buffer_leaves_most_of_a_small_device_s_memory_alone(library: FingerprintLibrary) -> None:
    (probe,) = (each for each in library.probes if each.purpose == "bandwidth")
    assert probe.amount == 2 * MEMORY_BYTES / SHARE_OF_MEMORY
    assert buffer_bytes(MEMORY_BYTES + 4096 * 17) == buffer_bytes(MEMORY_BYTES)
    assert buffer_bytes(1 << 40) == LARGEST_BUFFER


def test_a_library_without_the_kernels_gives_the_reason(
    tracker: Address, device: DeviceKey, library: FingerprintLibrary
) -> None:
    renamed = tuple(replace(each, symbol=f"no_{each.symbol}") for each in library.probes)
    outcome = DeviceDriver(tracker, device).fingerprint(replace(library, probes=renamed))
    assert isinstance(outcome, Failure)
    assert outcome.kind == "refused"


def test_a_device_that_is_not_there_is_a_failure(tracker: Address, library: FingerprintLibrary) -> None:
    outcome = DeviceDriver(tracker, DeviceKey("lab", "nobody")).fingerprint(library)
    assert isinstance(outcome, Failure)
    assert outcome.kind == "unreachable"
