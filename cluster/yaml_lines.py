"""YAML with the line on which every key and every item stands, so that an error can say where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

KeyPath = tuple[str | int, ...]


class SettingsError(ValueError):
    """A settings file that cannot be used; the message names file, line and key, and what is allowed."""


@dataclass(frozen=True, slots=True)
class YamlFile:
    """The content of a file and where it came from."""

    path: Path
    data: Any
    lines: Mapping[KeyPath, int]
    """Key path to line, counted from 1; the whole document's is that of its beginning."""

    def line(self, key_path: KeyPath) -> int:
        """Where that key stands, or else the nearest enclosing one."""
        while key_path not in self.lines:
            key_path = key_path[:-1]
        return self.lines[key_path]


def read_yaml(path: Path) -> YamlFile:
    """Read a file; raises ``SettingsError`` for one that is missing, no YAML, or states a key twice."""
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        data = yaml.SafeLoader("").construct_document(root) if root else None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is no text in UTF-8: {error.reason}; save it as UTF-8") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}{_mark(error)}: no YAML: {_problem(error)}; correct it") from error
    if root is None:
        raise SettingsError(f"{path} is empty; examples/ holds run files to start from")
    lines: dict[KeyPath, int] = {}
    for key_path, line in _walk(root, ()):
        if key_path in lines and key_path:
            name = ".".join(map(str, key_path))
            raise SettingsError(
                f"{path}:{line}: {name} is stated twice, first on line {lines[key_path]}; keep one"
            )
        lines[key_path] = line
    return YamlFile(path, data, lines)


def _walk(node: yaml.Node, key_path: KeyPath) -> Iterator[tuple[KeyPath, int]]:
    if not key_path:
        yield key_path, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _below(value, (*key_path, str(key.value)), key.start_mark.line + 1)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _below(value, (*key_path, index), value.start_mark.line + 1)


def _below(node: yaml.Node, key_path: KeyPath, line: int) -> Iterator[tuple[KeyPath, int]]:
    yield key_path, line
    yield from _walk(node, key_path)


def _mark(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f":{mark.line + 1}" if mark else ""


def _problem(error: yaml.YAMLError) -> str:
    return str(getattr(error, "problem", None) or error)
