"""A bundle: what is deployed on a device. One folder that TVM's runtime and numpy are enough to use.

``network.so``
    A relax VM library. ``main(*inputs, *parameters)`` takes every input, float32 ``(1, channels, height,
    width)``, and the parameters in the manifest's order. It gives the output, float32 in ONNX's shape (logits
    are ``(1, classes)``), or a tuple of several.
``parameters.bin``
    The parameters one after another: raw, little endian, C order, each at an offset that is a multiple of 64,
    so that they can be used where they are mapped.
``manifest.json``
    A ``runtime.manifest.Manifest``: format and version, shapes, CPU features that the library needs,
    configuration, certificate, where each parameter lies, size and SHA-256 of the other two files. Its
    ``checksum`` is the SHA-256 of the rest as canonical JSON (sorted keys, no spaces).

A bundle is written beside its place and moved there whole. One that is damaged, incomplete, or of another
version is refused when it is opened.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.configuration import Certificate, Configuration
from runtime.errors import BundleError
from runtime.manifest import FORMAT, VERSION, File, Manifest, Parameter, Shapes

MANIFEST, LIBRARY, PARAMETERS = "manifest.json", "network.so", "parameters.bin"
ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle: complete and undamaged."""

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: str | Path) -> Bundle:
        """Read the manifest and verify every file; raises ``BundleError``."""
        folder = Path(folder)
        path = folder / MANIFEST
        if not path.is_file():
            raise BundleError(
                f"{folder} is no bundle: it has no {MANIFEST}; name a folder that `blinknet run` wrote"
            )
        manifest = Manifest.decode(_read(path), str(path))
        names = {each.name for each in manifest.files}
        if names != {LIBRARY, PARAMETERS}:
            raise BundleError(
                f"{path} lists {sorted(names)}, not {LIBRARY} and {PARAMETERS}; write the bundle anew"
            )
        for file in manifest.files:
            _verify(folder, file)
        return cls(folder, manifest)

    @property
    def library(self) -> Path:
        """The relax VM library."""
        return self.folder / LIBRARY

    @property
    def storage_bytes(self) -> int:
        """Of all three files on disk."""
        return self.manifest.storage_bytes

    def parameters(self) -> tuple[NDArray[Any], ...]:
        """The arguments of ``main`` behind the inputs, mapped from the file: read when touched."""
        if not self.manifest.parameters:
            return ()
        # Copy on write: DLPack refuses read-only arrays, and nothing must ever write through to the file.
        mapped = np.memmap(self.folder / PARAMETERS, np.uint8, mode="c")
        return tuple(
            mapped[each.offset : each.offset + each.nbytes].view(each.dtype).reshape(each.shape)
            for each in self.manifest.parameters
        )


def write_bundle(
    folder: Path,
    library: Path,
    parameters: Sequence[tuple[str, NDArray[Any]]],
    configuration: Configuration,
    certificate: Certificate | None,
    *,
    input_shape: Sequence[int] | Mapping[str, Sequence[int]],
    output_shape: Sequence[int] | Mapping[str, Sequence[int]],
    requires: Iterable[str] = (),
) -> Bundle:
    """Write a bundle whole, in place of an older one; ``library`` is copied.

    Shapes include the batch, which is 1; of several inputs or outputs there is one for each by name.

    The certificate's ``storage_bytes`` becomes what the bundle really takes. Raises ``BundleError`` if the
    folder holds something else, or cannot be written.
    """
    with _replacing(folder) as new:
        shutil.copyfile(library, new / LIBRARY)
        placed = _write_parameters(new / PARAMETERS, parameters)
        manifest = Manifest(
            format=FORMAT,
            version=VERSION,
            input_shape=_shapes(input_shape),
            input_dtype="float32",
            output_shape=_shapes(output_shape),
            output_dtype="float32",
            requires=tuple(requires),
            configuration=configuration,
            certificate=certificate,
            parameters=placed,
            files=tuple(File(name, *_fingerprint(new / name)) for name in (LIBRARY, PARAMETERS)),
        ).with_true_storage()
        (new / MANIFEST).write_bytes(manifest.encode())
    return Bundle(folder, manifest)


def _shapes(stated: Sequence[int] | Mapping[str, Sequence[int]]) -> Shapes:
    """A single one loses its name."""
    if not isinstance(stated, Mapping):
        return tuple(stated)
    shapes = {name: tuple(each) for name, each in stated.items()}
    return shapes if len(shapes) > 1 else next(iter(shapes.values()))


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """A new folder that takes the place of ``folder`` when the block is through, and vanishes if it fails."""
    if folder.exists() and not (folder / MANIFEST).is_file() and any(folder.iterdir()):
        raise BundleError(f"{folder} holds something that is no bundle; name another folder, or empty it")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Beside it, because a rename is atomic only within one file system.
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as beside:
            new, old = Path(beside, "new"), Path(beside, "old")
            new.mkdir()
            yield new
            if folder.exists():
                folder.rename(old)
            new.rename(folder)
    except OSError as error:
        raise BundleError(
            f"bundle {folder} cannot be written: {error}; make room or name another folder"
        ) from error


def _write_parameters(path: Path, parameters: Sequence[tuple[str, NDArray[Any]]]) -> tuple[Parameter, ...]:
    placed = []
    with path.open("wb") as file:
        for name, array in parameters:
            file.write(bytes(-file.tell() % ALIGNMENT))
            placed.append(Parameter(name, str(array.dtype), array.shape, file.tell(), array.nbytes))
            file.write(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return tuple(placed)


def _verify(folder: Path, file: File) -> None:
    path = folder / file.name
    if not path.is_file():
        raise BundleError(f"bundle {folder} is incomplete: {file.name} is missing; copy it again")
    nbytes, sha256 = _fingerprint(path)
    if nbytes != file.nbytes:
        raise BundleError(
            f"{path} has {nbytes} bytes, not {file.nbytes}; it is damaged, copy the bundle again"
        )
    if sha256 != file.sha256:
        raise BundleError(f"{path} does not match its checksum; it is damaged, copy the bundle again")


def _fingerprint(path: Path) -> tuple[int, str]:
    """Size in bytes and SHA-256."""
    try:
        with path.open("rb") as file:
            return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error}; check who may read it") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error}; check who may read it") from error
