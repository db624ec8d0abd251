"""What one device got, as the YAML text of its configuration file: for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import yaml

from cluster.goal import OBJECTIVES, Goal, Objective
from cluster.texts import device_text
from runtime.bounds import Bounds, ResolvedBounds
from runtime.configuration import Certificate, Configuration
from runtime.records import from_plain, to_plain
from tracker.device import DeviceKey

HEADER = "# Written by BlinkNet; `blinknet configure` answers other bounds from the same measurements.\n"


@dataclass(frozen=True, slots=True)
class DeviceResult:
    """What one device got."""

    configuration: Configuration
    bounds: Bounds
    """As stated."""
    limits: ResolvedBounds
    """The same in seconds, bytes and percentage points."""
    certificate: Certificate | None
    """``None`` where the configuration has not run on the device."""
    nearest: Mapping[str, float | None]
    """Where no configuration keeps the bounds: for each the nearest feasible value with the others kept."""
    objective: Objective = "loss"
    """What was to be least inside the bounds."""

    @property
    def goal(self) -> Goal:
        """Bounds and objective."""
        return Goal(self.bounds, self.objective)

    @property
    def device_text(self) -> str:
        """The device as tables show it beside what was verified, or predicted where nothing was."""
        shown = self.certificate or self.configuration
        return device_text(self.configuration.device, emulated=shown.emulated)

    @property
    def verdict(self) -> str:
        """The certificate's, or that there is none."""
        return self.certificate.verdict if self.certificate else "unverified"


def to_yaml(result: DeviceResult) -> str:
    """Readable: what it is and how it ended first, every layer with its figures, then the certificate."""
    return HEADER + yaml.dump(_plain(result), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def from_yaml(text: str) -> DeviceResult:
    """Read what ``to_yaml`` gave; raises ``ValueError`` that says what is wrong."""
    try:
        return _result(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except KeyError as error:
        raise ValueError(f"it has no {error}") from error
    except TypeError as error:
        raise ValueError(f"it is no mapping ({error})") from error


def _plain(result: DeviceResult) -> dict[str, Any]:
    configuration, certificate = result.configuration, result.certificate
    return {
        "device": configuration.device,
        **({"emulated": True} if configuration.emulated else {}),
        "verdict": result.verdict,
        "network": configuration.network,
        "network_sha256": configuration.network_sha256,
        "target": configuration.target,
        "objective": result.objective,
        "bounds": {"stated": result.bounds.to_dict(), "resolved": to_plain(result.limits)},
        "nearest_feasible": to_plain(result.nearest),
        "predicted": to_plain(configuration.predicted),
        "verified": to_plain(certificate.costs) if certificate else None,
        "layers": to_plain(configuration.layers),
        "certificate": to_plain(certificate),
    }


def _result(plain: Mapping[str, Any]) -> DeviceResult:
    key = DeviceKey.parse(plain["device"])
    same = {name: plain[name] for name in ("network", "network_sha256", "target", "layers", "predicted")}
    return DeviceResult(
        Configuration.from_dict(
            same
            | {"device_class": key.device_class, "unit": key.unit, "emulated": plain.get("emulated", False)}
        ),
        Bounds.parse(plain["bounds"]["stated"]),
        from_plain(ResolvedBounds, plain["bounds"]["resolved"], "bounds.resolved"),
        Certificate.from_dict(plain["certificate"]) if plain["certificate"] else None,
        plain["nearest_feasible"],
        _objective(plain.get("objective", "loss")),
    )


def _objective(plain: Any) -> Objective:
    if plain not in OBJECTIVES:
        raise ValueError(f"its objective is {plain!r}, none of {', '.join(OBJECTIVES)}")
    return cast("Objective", plain)


class _Dumper(yaml.SafeDumper):
    """Tiles on one line, everything else on lines of its own."""

    def ignore_aliases(self, _: Any) -> bool:
        """An anchor saves a line and costs the reader a search."""
        return True


def _list(dumper: _Dumper, values: list[Any]) -> yaml.Node:
    inline = not any(isinstance(each, dict) for each in values)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=inline)


_Dumper.add_representer(list, _list)
