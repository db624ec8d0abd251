"""Frozen dataclasses to plain data (what JSON and YAML can hold) and back, by their type hints. Pure.

Strict on the way back: a missing or unknown key, or a value of another type, raises ``RecordError`` with the
path to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from runtime.errors import RecordError

T = TypeVar("T")
RARE: Mapping[str, bool] = {"rare": True}


def to_plain(value: Any) -> Any:
    """Dictionaries, lists, numbers, texts and ``None``, in the order of the fields.

    A field with the metadata ``RARE`` is left out where it has its default.
    """
    if is_dataclass(value):
        stated = ((each, getattr(value, each.name)) for each in fields(value))
        return {
            each.name: to_plain(found)
            for each, found in stated
            if not (each.metadata == RARE and found == each.default)
        }
    if isinstance(value, Mapping):
        return {key: to_plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [to_plain(each) for each in value]
    return value


def from_plain(kind: type[T], plain: object, where: str) -> T:
    """The record of that kind; ``where`` begins the path in error messages."""
    return cast("T", _read(kind, plain, where))


def _read(hint: Any, plain: Any, where: str) -> Any:
    if is_dataclass(hint):
        return _record(hint, plain, where)
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return _union(hint, plain, where)
    if origin is tuple:
        return _tuple(get_args(hint), plain, where)
    if origin is not None and origin is not Literal:
        return _mapping(get_args(hint), plain, where)
    if not _fits(hint, plain):
        raise RecordError(f"{where} is {plain!r}, it should be {_name(hint)}; write the file anew")
    return float(plain) if hint is float else plain


def _record(kind: Any, plain: Any, where: str) -> Any:
    known = {each.name: each for each in fields(kind)}
    _check_keys(known, _require(dict, plain, where), where)
    hints = get_type_hints(kind)
    return kind(**{name: _read(hints[name], value, f"{where}.{name}") for name, value in plain.items()})


def _check_keys(known: Mapping[str, Field[Any]], plain: Mapping[str, Any], where: str) -> None:
    required = {
        name for name, each in known.items() if each.default is MISSING and each.default_factory is MISSING
    }
    if missing := sorted(required - set(plain)):
        raise RecordError(f"{where} has no {', '.join(missing)}; write the file anew")
    if unknown := sorted(set(plain) - set(known)):
        raise RecordError(
            f"{where} has the unknown {', '.join(unknown)}; another version of BlinkNet wrote it"
        )


def _union(hint: Any, plain: Any, where: str) -> Any:
    """Something or nothing; or a tuple or a mapping, which plain data tells apart."""
    kinds = [each for each in get_args(hint) if each is not NoneType]
    if plain is None and NoneType in get_args(hint):
        return None
    mappings = [each for each in kinds if get_origin(each) not in (None, tuple, Literal)]
    fitting = mappings if isinstance(plain, dict) and mappings else kinds
    return _read(fitting[0], plain, where)


def _tuple(kinds: tuple[Any, ...], plain: Any, where: str) -> tuple[Any, ...]:
    values = _require(list, plain, where)
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(values)
    if len(kinds) != len(values):
        raise RecordError(
            f"{where} has {len(values)} values, it should have {len(kinds)}; write the file anew"
        )
    return tuple(
        _read(kind, each, f"{where}[{index}]")
        for index, (kind, each) in enumerate(zip(kinds, values, strict=True))
    )


def _mapping(kinds: tuple[Any, ...], plain: Any, where: str) -> dict[Any, Any]:
    _, kind = kinds
    return {key: _read(kind, each, f"{where}.{key}") for key, each in _require(dict, plain, where).items()}


def _require(kind: type[T], plain: object, where: str) -> T:
    if not isinstance(plain, kind):
        raise RecordError(f"{where} is {plain!r}, it should be of type {kind.__name__}; write the file anew")
    return plain


def _fits(hint: Any, plain: Any) -> bool:
    if get_origin(hint) is Literal:
        return plain in get_args(hint)
    if isinstance(plain, bool):
        return hint is bool
    return isinstance(plain, int | float if hint is float else hint)


def _name(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return " or ".join(repr(each) for each in get_args(hint))
    return f"of type {hint.__name__}"
