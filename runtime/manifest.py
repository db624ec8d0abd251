"""What a bundle says about itself, as the text of its ``manifest.json`` and back. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from runtime.configuration import Certificate, Configuration
from runtime.errors import BundleError, RecordError
from runtime.records import from_plain, to_plain

FORMAT = "blinknet-bundle"
VERSION = 1

Shape = tuple[int, ...]
Shapes = Shape | Mapping[str, Shape]
"""One shape, or where there are several, each by name."""


@dataclass(frozen=True, slots=True)
class File:
    """Another file of the bundle."""

    name: str
    nbytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """Where an argument of ``main`` lies in the parameter file; little endian, C order."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that a device needs to know before it loads the library."""

    format: str
    version: int
    input_shape: Shapes
    """``(1, channels, height, width)``; in the order of ``main``'s arguments."""
    input_dtype: str
    output_shape: Shapes
    """As ONNX has it, ``(1, classes)`` or ``(1, channels, height, width)``; in the order of the results."""
    output_dtype: str
    requires: tuple[str, ...]
    """CPU features that the library uses, as Linux names them in /proc/cpuinfo."""
    configuration: Configuration
    certificate: Certificate | None
    """``None`` for what has not been verified yet."""
    parameters: tuple[Parameter, ...]
    """In the order of ``main``'s arguments."""
    files: tuple[File, ...]

    @property
    def input_shapes(self) -> Mapping[str, Shape]:
        """Of every input by name; a single one is called ``x``."""
        return self.input_shape if isinstance(self.input_shape, Mapping) else {"x": self.input_shape}

    @property
    def output_shapes(self) -> Mapping[str, Shape]:
        """Of every output by name; a single one is called ``y``."""
        return self.output_shape if isinstance(self.output_shape, Mapping) else {"y": self.output_shape}

    @property
    def storage_bytes(self) -> int:
        """Of the whole bundle on disk: the files and the manifest itself."""
        return sum(each.nbytes for each in self.files) + len(self.encode())

    def with_true_storage(self) -> Manifest:
        """The same with the certificate's ``storage_bytes`` set to what the bundle really takes.

        The figure is part of the manifest that it measures: repeated until its number of digits is settled.
        """
        manifest = self
        while manifest.certificate and manifest.certificate.storage_bytes != manifest.storage_bytes:
            certificate = replace(manifest.certificate, storage_bytes=manifest.storage_bytes)
            manifest = replace(manifest, certificate=certificate)
        return manifest

    def encode(self) -> bytes:
        """The text of ``manifest.json``."""
        plain = to_plain(self)
        return json.dumps({**plain, "checksum": _checksum(plain)}, indent=1).encode() + b"\n"

    @classmethod
    def decode(cls, text: bytes, where: str) -> Manifest:
        """Read what ``encode`` gave; raises ``BundleError`` that begins with ``where``."""
        plain = _plain(text, where)
        checksum = plain.pop("checksum", None)
        if checksum != _checksum(plain):
            raise BundleError(
                f"{where} does not match its own checksum; it was changed or damaged, copy it again"
            )
        try:
            return from_plain(cls, plain, where)
        except RecordError as error:
            raise BundleError(str(error)) from error


def _plain(text: bytes, where: str) -> dict[str, Any]:
    try:
        plain = json.loads(text)
    except ValueError as error:
        raise BundleError(f"{where} is no JSON ({error}); copy the bundle again") from error
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        raise BundleError(f"{where} is no manifest of a bundle; name a folder that `blinknet run` wrote")
    if plain.get("version") != VERSION:
        raise BundleError(
            f"{where} has version {plain.get('version')} of the bundle format, this runtime reads {VERSION}; "
            "install the BlinkNet that wrote it, or write the bundle anew"
        )
    return plain


def _checksum(plain: dict[str, Any]) -> str:
    """SHA-256 of the canonical JSON."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
