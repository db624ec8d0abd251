"""What the user writes: run files, and our part of Ray's ``ray_config.yaml``.

Paths in a file are relative to its folder; ``~`` is the home folder. Every field is read somewhere; an
unknown key is an error. Errors name the file, the line, the key and what is allowed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cluster.goal import Goal
from cluster.settings_errors import misplaced, validated
from cluster.settings_fields import (
    EMBEDDED,
    AnyPath,
    Degree,
    InputFile,
    Method,
    Name,
    Share,
    StatedBounds,
    StatedObjective,
    StatedSharing,
    Tracker,
)
from cluster.yaml_lines import SettingsError, read_yaml
from runtime.percentiles import runs_needed
from tracker.access import Access

__all__ = [
    "ClusterSettings",
    "RunFile",
    "SettingsError",
    "cluster_settings",
    "load_cluster_settings",
    "load_run_file",
]


CLUSTER_FILE = Path("ray_config.yaml")


class Settings(BaseModel):
    """Read once, never changed, and closed: nothing that is written is silently ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SampleFiles(Settings):
    """Labelled samples: ``.npz`` files with the arrays ``x`` (n, channels, height, width) and ``y`` (n,)."""

    calibration: InputFile
    """What approximations are fitted to and chosen by."""
    evaluation: InputFile
    """What the certificate's accuracy is counted on; never used to choose."""
    scale: float = 1.0
    """The network is given ``x * scale + offset``."""
    offset: float = 0.0


class TargetSettings(Settings):
    """What to compile for, where the devices of a class cannot say it themselves."""

    mcpu: str
    """As LLVM names it, such as ``x86-64-v3``."""
    mattr: tuple[str, ...] = ()
    """Features on top, such as ``+avx512vnni``."""


class DeviceSettings(Settings):
    """What is asked of every device of a class."""

    bounds: StatedBounds
    objective: StatedObjective = "loss"
    """What is to be least inside the bounds: loss, latency, memory or storage."""
    configuration: StatedSharing = "class"
    """One for the whole class, searched for on its slowest unit, or one for each unit."""
    target: TargetSettings | None = None
    threads: int = Field(default=1, ge=1)
    """That kernels may use, at most as many as the device has timing cores."""

    @property
    def goal(self) -> Goal:
        """Bounds and objective."""
        return Goal(self.bounds, self.objective)

    @model_validator(mode="after")
    def _the_goal_can_be_wanted(self) -> Self:
        if flaw := self.goal.flaw():
            raise misplaced({("objective",): flaw}, "device")
        return self


class MeasureSettings(Settings):
    """How kernels are timed."""

    relative_ci: float = Field(default=0.02, gt=0, lt=1)
    """A kernel is timed until the confidence interval of its median is this narrow, as a share of it..."""
    budget_s: float = Field(default=0.25, gt=0)
    """... or for so long."""
    drift: float = Field(default=0.1, gt=0, lt=1)
    """By which share a reference kernel may differ between two moments before what was timed between them is
    timed again, and corrected where the device does not come back to its speed."""
    max_temperature_c: float | None = Field(default=80.0, gt=0)
    """A device that reports more is left alone until it is 5 degrees cooler; ``null``: never..."""
    cool_down_s: float = Field(default=60.0, ge=0)
    """... or for so long at most; what is measured then is marked."""
    predicted_share: Share = 0.25
    """Of the kernels that would be measured before the first choice: left to be predicted."""
    everything: bool = False
    """Measure each kernel with each of its tiles before anything is chosen: hours, for large networks."""
    tolerance_pp: float = Field(default=0.1, ge=0)
    """What no further measurement could lose less than the choice by is not measured any more, in percentage
    points..."""
    tolerance: Share = 0.02
    """... or, for another objective than loss, as a share of its cost."""
    context: bool = True
    """Whether kernels are also read at their places in whole configurations, once a class and network;
    without that a network counts as the sum of its kernels alone, corrected by what runs show."""
    common_requests: int = Field(default=6, ge=0)
    """Kernels that every unit of a class measures, which tell how fast it is; all others are shared out."""


class AccuracySettings(Settings):
    """How many calibration samples the accuracy model stands on."""

    fit_samples: int = Field(default=512, ge=1)
    """For fitting the parameters of approximations."""
    samples: int = Field(default=2000, ge=1)
    """For evaluating them."""
    evaluations: int = Field(default=40, ge=1)
    """Approximations of single layers that are evaluated; what others lose is told from how much their errors
    are felt. Each number format and one structure of each layer are evaluated in any case."""


class VerifySettings(Settings):
    """When a configuration is certified."""

    runs: int = Field(default=1000, ge=1)
    """Inferences on the device, each beside one of the exact configuration."""
    samples: int | None = Field(default=None, ge=1)
    """Evaluation samples that the device answers, evenly spread; all of them unless stated."""
    rounds: int = Field(default=5, ge=1, le=5)
    """Configurations that may be tried on a device: what does not hold by then is an honest failure."""
    evaluations: int = Field(default=8, ge=1)
    """Configurations whose accuracy may be tried for an objective other than loss; as many again whenever the
    evaluation samples refuse one that the calibration samples allow."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """That the true latency percentile is not above what the certificate says; and where evaluation samples
    refuse what calibration samples allow, that the loss is below its bound, in the last round."""
    headroom: Share = 0.05
    """Of the latency bound: left free when choosing, because a device is never twice the same."""


class RunFile(Settings):
    """One job: a network, its samples, and bounds for each device class."""

    name: Name
    """Of the folder that the run writes; the same name goes on where it stopped."""
    network: InputFile
    """The trained network, ``.onnx``."""
    samples: SampleFiles
    devices: dict[Name, DeviceSettings] = Field(min_length=1)
    approximations: tuple[Method, ...] | None = None
    """Methods to choose from; all of them unless stated."""
    degrees: tuple[Degree, ...] | None = None
    """How far a method may go; each method's own unless stated."""
    tracker: Tracker = EMBEDDED
    """``HOST:PORT`` of the fleet's, or devices of this machine's own."""
    measure: MeasureSettings = MeasureSettings()
    accuracy: AccuracySettings = AccuracySettings()
    verify: VerifySettings = VerifySettings()

    @model_validator(mode="after")
    def _runs_tell_the_percentile(self) -> Self:
        for name, device in self.devices.items():
            percentile = device.bounds.percentile
            needed = runs_needed(percentile, self.verify.confidence)
            if self.verify.runs < needed:
                key_path = (
                    ("verify", "runs") if "verify" in self.model_fields_set else ("devices", name, "bounds")
                )
                reason = f"asks for percentile {percentile:g} of {name} from {self.verify.runs} runs"
                raise misplaced(
                    {key_path: f"{reason}; write {needed} or more below verify, runs"}, "run file"
                )
        return self


class ClusterSettings(Settings):
    """What BlinkNet reads from ``ray_config.yaml``, below ``metadata: blinknet:``."""

    tracker: Tracker = EMBEDDED
    """For run files that do not name one."""
    store: AnyPath | None = None
    """One measurement store for all runs; beside each run's results unless stated."""
    build_cpus: int = Field(default=1, ge=1)
    """CPUs that Ray reserves for a task that compiles."""
    session_timeout_s: float = Field(default=60.0, gt=0)
    """After which a session on a device is given up and its process killed."""
    patience_s: float = Field(default=60.0, ge=0)
    """How long a class may be without any device, when a run begins and while it goes on."""
    devices_per_actor: int = Field(default=1, ge=1, le=256)
    """Devices that one process drives: a process each takes about 100 MB."""
    credential: AnyPath | None = None
    """Folder of a coordinator's credential, at the same place on every node that drives devices."""
    allow_plaintext: bool = False
    """Whether trackers and devices on other machines may be reached without TLS."""

    @property
    def access(self) -> Access:
        """How trackers and devices are reached; what the environment says comes first."""
        return Access.stated(Access(self.credential, self.allow_plaintext))


def load_run_file(path: Path) -> RunFile:
    """Read and check a run file; raises ``SettingsError``."""
    file = read_yaml(path)
    return validated(RunFile, file, file.data)


def cluster_settings() -> ClusterSettings:
    """Our part of ``ray_config.yaml`` in the current folder; defaults where there is none."""
    return load_cluster_settings(CLUSTER_FILE) if CLUSTER_FILE.is_file() else ClusterSettings()


def load_cluster_settings(path: Path) -> ClusterSettings:
    """Our part of a Ray cluster file, defaults where it has none; raises ``SettingsError``."""
    file = read_yaml(path)
    metadata = (file.data.get("metadata") or {}) if isinstance(file.data, dict) else None
    if not isinstance(metadata, dict):
        raise SettingsError(f"{path} is no Ray cluster file; see ray_config.yaml in the project's folder")
    return validated(ClusterSettings, file, metadata.get("blinknet", {}), below=("metadata", "blinknet"))
