"""What the coordinator is told and what it asks for. Frozen facts, pure."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.needs import Decision, Finished
from cluster.selection import Selection


@dataclass(frozen=True, slots=True)
class Batch:
    """Kernels of one device class that share one library."""

    number: int
    device_class: str
    requests: tuple[str, ...]
    common: bool = False
    """Whether every unit of the class measures it, and not one for all."""


# --- events


@dataclass(frozen=True, slots=True)
class DeviceJoined:
    """A device registered. Devices with a core in common never time at the same moment."""

    device: str
    device_class: str
    cores: frozenset[str]
    """The cores on which it times, named so that no two hosts share a name."""


@dataclass(frozen=True, slots=True)
class DeviceLost:
    """A device is gone or unusable; its work goes back to the queue."""

    device: str
    reason: str


@dataclass(frozen=True, slots=True)
class Built:
    """A library is ready, but for the kernels in ``failed``."""

    batch: Batch
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Measured:
    """A device is through with a batch, or stopped in the middle of it.

    ``done`` are the requests with a result in the store; ``culprit`` was running when the session died.
    """

    device: str
    batch: Batch
    done: tuple[str, ...]
    culprit: str | None = None


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The accuracy effects of the single layers in ``layers`` are in the store."""

    layer: str


@dataclass(frozen=True, slots=True)
class Decided:
    """What the device needs next."""

    device: str
    decision: Decision


@dataclass(frozen=True, slots=True)
class JointlyEvaluated:
    """The calibration accuracy of the device's proposed configuration is in the store."""

    device: str


@dataclass(frozen=True, slots=True)
class Ran:
    """A whole configuration ran on the device (the run is in the store), or failed to."""

    device: str
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Profiled:
    """Configurations ran with clocks between their kernels (the readings are in the store), or failed to."""

    device: str
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class ClassAbandoned:
    """No device of that class has been seen for too long."""

    device_class: str
    reason: str


@dataclass(frozen=True, slots=True)
class Ranked:
    """Units of a class by their speed factors, the slowest first."""

    device_class: str
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BudgetSpent:
    """Nothing more is to be measured but what a decision cannot do without."""


Event = (
    DeviceJoined
    | DeviceLost
    | Built
    | Measured
    | Evaluated
    | Decided
    | JointlyEvaluated
    | Ran
    | Profiled
    | ClassAbandoned
    | Ranked
    | BudgetSpent
)

# --- commands


@dataclass(frozen=True, slots=True)
class Build:
    """Compile a batch into one library."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class Measure:
    """Time every kernel of a built batch on the device."""

    device: str
    batch: Batch


@dataclass(frozen=True, slots=True)
class Evaluate:
    """Find what each variant of one layer does to the network's output."""

    layer: str


@dataclass(frozen=True, slots=True)
class Decide:
    """Look at what is known and say what the device needs next."""

    device: str
    final: Finished | None = None
    """Where the class has its configuration: what the device needs to run that."""


@dataclass(frozen=True, slots=True)
class Rank:
    """Say which of these units of a class is the slowest: its configuration is to be everybody's."""

    device_class: str
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EvaluateJointly:
    """Find the accuracy of a whole configuration (a variant for each layer) on calibration samples."""

    device: str
    variants: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunConfiguration:
    """Assemble a configuration and run it end to end on the device."""

    device: str
    selection: Selection


@dataclass(frozen=True, slots=True)
class Profile:
    """Assemble configurations with clocks between their kernels and run them on the device."""

    device: str
    selections: tuple[Selection, ...]


@dataclass(frozen=True, slots=True)
class Discard:
    """A request that crashed two sessions is recorded as failed and never tried again."""

    device_class: str
    request: str
    device: str


Command = Build | Measure | Evaluate | Decide | Rank | EvaluateJointly | RunConfiguration | Profile | Discard
