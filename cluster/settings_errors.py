"""What pydantic found wrong with a file, in words for the person who wrote it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from cluster.yaml_lines import KeyPath, SettingsError, YamlFile

Model = TypeVar("Model", bound=BaseModel)

WORDING = {
    "missing": "is missing",
    "string_pattern_mismatch": "is no name; use letters, digits, _, + and - alone",
    "model_type": "holds no keys; write `key: value` lines below it",
    "dict_type": "holds no keys; write `key: value` lines below it",
    "tuple_type": "is no list; write [one, another]",
}


def validated(model: type[Model], file: YamlFile, data: Any, below: KeyPath = ()) -> Model:
    """``data``, which stands ``below`` that key of the file, as a model; raises ``SettingsError``."""
    try:
        return model.model_validate(data, context={"folder": file.path.parent})
    except ValidationError as error:
        raise SettingsError(_message(model, file, error, below)) from None


def misplaced(problems: Mapping[KeyPath, str], title: str) -> ValidationError:
    """An error of ours at key paths below the value that is being validated."""
    return ValidationError.from_exception_data(
        title,
        [
            InitErrorDetails(
                type=PydanticCustomError("ours", "{reason}", {"reason": reason}), loc=key_path, input=None
            )
            for key_path, reason in problems.items()
        ],
    )


def _message(model: type[BaseModel], file: YamlFile, error: ValidationError, below: KeyPath) -> str:
    found = sorted(
        (file.line((*below, *_key_path(each))), f"{_name((*below, *_key_path(each)))} {_reason(model, each)}")
        for each in error.errors()
    )
    if len(found) == 1:
        line, reason = found[0]
        return f"{file.path}:{line}: {reason}"
    return "\n".join(
        [f"{file.path} has {len(found)} errors", *(f"  line {line}: {reason}" for line, reason in found)]
    )


def _key_path(error: ErrorDetails) -> KeyPath:
    """Without pydantic's own words for the key of a mapping."""
    return tuple(each for each in error["loc"] if each != "[key]")


def _name(key_path: KeyPath) -> str:
    parts = (f"[{each}]" if isinstance(each, int) else f".{each}" for each in key_path)
    return "".join(parts).lstrip(".") or "the file"


def _reason(model: type[BaseModel], error: ErrorDetails) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return unknown(str(error["loc"][-1]), _fields(model, error["loc"][:-1]))
    if kind in {"value_error", "ours"}:
        return str(context.get("error") or context["reason"])
    if kind in WORDING:
        return WORDING[kind]
    return f"is {error['input']!r}: {error['msg'][0].lower()}{error['msg'][1:]}"


def unknown(key: str, allowed: Iterable[str], kind: str = "key") -> str:
    """What to say of a key, or of another kind of name, that nobody knows."""
    names = list(allowed)
    close = get_close_matches(key, names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"is no {kind} here; {hint}allowed: {', '.join(names)}"


def _fields(model: type[BaseModel], key_path: KeyPath) -> Iterable[str]:
    """Keys of the model at ``key_path`` below ``model``; names of a mapping's entries are passed over."""
    for part in key_path:
        if part in model.model_fields:
            model = _model_in(model.model_fields[str(part)].annotation) or model
    return model.model_fields


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The first model that a type hint such as ``dict[str, Model]`` mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _model_in(each))), None)
