"""Fashion-MNIST, split so that training, calibration and evaluation share no image.

`python -m examples.data` writes `calibration.npz` and `evaluation.npz`; `examples.train` trains on the rest.
"""

import argparse
import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
PREPARED_FOLDER = Path(__file__).parent / "fashion_mnist"
CALIBRATION_SAMPLES = 5_000
SPLIT_SEED = 2017


@dataclass(frozen=True, slots=True)
class Samples:
    """Grey images `x`, uint8 of shape (n, 1, 28, 28), with their classes `y`, uint8 of shape (n,) in 0..9."""

    x: NDArray[np.uint8]
    y: NDArray[np.uint8]

    def __getitem__(self, index: NDArray[np.intp]) -> Self:
        return type(self)(self.x[index], self.y[index])

    def save(self, path: Path) -> None:
        """Write `x` and `y` to a compressed npz file; equal samples give equal bytes."""
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, x=self.x, y=self.y)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(path) as arrays:
            return cls(arrays["x"], arrays["y"])


@dataclass(frozen=True, slots=True)
class Split:
    """Three disjoint sets: 55,000 images to train on, 5,000 to calibrate with, 10,000 to evaluate on."""

    train: Samples
    calibration: Samples
    evaluation: Samples


def split(folder: Path = DEBIAN_FOLDER) -> Split:
    """The one rule: calibration is a seeded draw from the training images, evaluation the whole test set."""
    known = _read(folder, "train")
    order = np.random.default_rng(SPLIT_SEED).permutation(len(known.y))
    calibration, train = np.split(order, [CALIBRATION_SAMPLES])
    return Split(known[train], known[calibration], _read(folder, "t10k"))


def network_input(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the example networks take: float32 in [0, 1], the shape unchanged."""
    return images.astype(np.float32) / np.float32(255)


def _read(folder: Path, part: str) -> Samples:
    images = _read_idx(folder / f"{part}-images-idx3-ubyte.gz")
    return Samples(images[:, np.newaxis], _read_idx(folder / f"{part}-labels-idx1-ubyte.gz"))


def _read_idx(path: Path) -> NDArray[np.uint8]:
    """Unsigned bytes of an IDX file: two zero bytes, type 8, the rank, one big-endian int32 a dimension."""
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing: `apt-get install dataset-fashion-mnist`, or `--data DIR`"
        )
    content = gzip.decompress(path.read_bytes())
    if content[:3] != b"\0\0\x08":
        raise ValueError(f"{path} is not an IDX file of unsigned bytes: name the folder with `--data DIR`")
    rank = content[3]
    shape = np.frombuffer(content, ">i4", count=rank, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)


def main() -> None:
    """Write the two files and say how large they are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DEBIAN_FOLDER, help="folder of the four idx.gz files")
    parser.add_argument("--out", type=Path, default=PREPARED_FOLDER)
    arguments = parser.parse_args()
    prepared = split(arguments.data)
    for name, samples in {"calibration": prepared.calibration, "evaluation": prepared.evaluation}.items():
        path = arguments.out / f"{name}.npz"
        samples.save(path)
        print(f"{path}: {len(samples.y)} images, {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
