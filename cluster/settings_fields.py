"""Values of settings that are more than a number or a text: paths, addresses, fractions, bounds."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import AfterValidator, Field, PlainValidator, ValidationInfo

from cluster.goal import OBJECTIVES, Objective
from cluster.settings_errors import misplaced, unknown
from cluster.yaml_lines import KeyPath
from network.approximations import method_names
from runtime.bounds import QUANTITIES, Bound, Bounds
from runtime.errors import BoundsError
from tracker.address import Address

EMBEDDED: Literal["embedded"] = "embedded"
Sharing = Literal["class", "unit"]
SHARING: tuple[Sharing, ...] = get_args(Sharing)


def _path(value: Any, info: ValidationInfo) -> Path:
    if not isinstance(value, str) or not value:
        raise ValueError(f"is {value!r}; name a file")
    return info.context["folder"] / Path(value).expanduser() if info.context else Path(value)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"names {path}, which is no file; correct the path, it is relative to this file")
    return path


def _tracker(value: Any) -> Literal["embedded"] | Address:
    if value == EMBEDDED:
        return EMBEDDED
    try:
        return Address.parse(value if isinstance(value, str) else repr(value))
    except ValueError:
        raise ValueError(f"is {value!r}; write embedded, or HOST:PORT such as 127.0.0.1:9190") from None


def _method(value: Any) -> str:
    if value not in method_names():
        raise ValueError(f"{value!r} {unknown(str(value), method_names(), 'method')}")
    return str(value)


def _degree(value: Any) -> Fraction:
    try:
        degree = Fraction(value) if isinstance(value, str) else None
    except (ValueError, ZeroDivisionError):
        degree = None
    if degree is None or not 0 < degree < 1:
        raise ValueError(f"is {value!r}; write a fraction between 0 and 1 in quotes, such as '1/2'")
    return degree


def _bounds(value: Any) -> Bounds:
    if not isinstance(value, dict) or not value:
        raise ValueError("states nothing; write for example {latency: 20%, memory: 60%, loss: 1pp}")
    bounds: list[Bound] = []
    problems: dict[KeyPath, str] = {}
    for quantity, stated in value.items():
        if quantity not in QUANTITIES:
            problems[quantity,] = unknown(str(quantity), QUANTITIES)
            continue
        try:
            bounds.append(Bound.parse(quantity, stated))
        except BoundsError as error:
            problems[quantity,] = f"is wrong: {error}"
    if problems:
        raise misplaced(problems, "bounds")
    return Bounds().override(*bounds)


def _objective(value: Any) -> Objective:
    if value not in OBJECTIVES:
        raise ValueError(f"{value!r} {unknown(str(value), OBJECTIVES, 'objective')}")
    return cast("Objective", value)


def _sharing(value: Any) -> Sharing:
    if value not in SHARING:
        raise ValueError(f"{value!r} {unknown(str(value), SHARING, 'way to share')}")
    return cast("Sharing", value)


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_+-]+$")]
"""Also of a device class: part of file names and tracker keys, where dot and colon mean something."""
AnyPath = Annotated[Path, PlainValidator(_path)]
InputFile = Annotated[AnyPath, AfterValidator(_existing)]
Share = Annotated[float, Field(ge=0, lt=1)]
Tracker = Annotated[Literal["embedded"] | Address, PlainValidator(_tracker)]
Method = Annotated[str, PlainValidator(_method)]
Degree = Annotated[Fraction, PlainValidator(_degree)]
StatedBounds = Annotated[Bounds, PlainValidator(_bounds)]
StatedObjective = Annotated[Objective, PlainValidator(_objective)]
StatedSharing = Annotated[Sharing, PlainValidator(_sharing)]
