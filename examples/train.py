"""Trains an example network on Fashion-MNIST, evaluates it on the 10,000 test images and exports ONNX.

`python -m examples.train cifar10_quick` (needs the extra `train`; running BlinkNet never does).
"""

import argparse
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional

from examples.architectures import ARCHITECTURES
from examples.data import DEBIAN_FOLDER, Samples, network_input, split
from examples.export import to_onnx

INPUT_SHAPE = (1, 1, 28, 28)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a network is trained: AdamW under a one-cycle learning rate on flipped and shifted images."""

    epochs: int
    peak_rate: float
    weight_decay: float
    label_smoothing: float
    shift_pixels: int
    batch: int = 128
    seed: int = 0
    threads: int = 1


RECIPES = {
    "cifar10_quick": Recipe(20, peak_rate=3e-3, weight_decay=1e-2, label_smoothing=0.0, shift_pixels=1),
    "vgg16": Recipe(16, peak_rate=3e-3, weight_decay=5e-2, label_smoothing=0.1, shift_pixels=2),
}


@dataclass(frozen=True, slots=True)
class Batches:
    """Images, float32 of shape (n, 1, 28, 28) in [0, 1], and their classes, int64 of shape (n,)."""

    images: Tensor
    classes: Tensor

    @classmethod
    def of(cls, samples: Samples) -> Self:
        """The samples as the network takes them."""
        return cls(torch.from_numpy(network_input(samples.x)), torch.tensor(samples.y, dtype=torch.long))

    def shuffled(self, size: int) -> list[Self]:
        """All samples once, in random order, in batches of `size`; the incomplete last one is left out."""
        order = torch.randperm(len(self.classes))
        return [self._take(chosen) for chosen in order.split(size) if len(chosen) == size]

    def in_order(self, size: int) -> list[Self]:
        """All samples once, in their order."""
        return [self._take(chosen) for chosen in torch.arange(len(self.classes)).split(size)]

    def _take(self, chosen: Tensor) -> Self:
        return type(self)(self.images[chosen], self.classes[chosen])


def train(model: nn.Sequential, samples: Samples, held_out: Samples, recipe: Recipe) -> None:
    """Train in place, printing after every epoch the accuracy on images that are not trained on."""
    known = Batches.of(samples)
    steps = recipe.epochs * (len(known.classes) // recipe.batch)
    optimizer = torch.optim.AdamW(model.parameters(), recipe.peak_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.peak_rate, total_steps=steps)
    for epoch in range(1, recipe.epochs + 1):
        start = time.perf_counter()
        loss = _epoch(model, known, recipe, optimizer, schedule)
        if not math.isfinite(loss):
            raise ArithmeticError("the loss is not finite; lower `peak_rate` in RECIPES")
        reached = accuracy(model, held_out)
        duration_s = time.perf_counter() - start
        print(f"epoch {epoch}: loss {loss:.4f}, held out {reached:.2%}, {duration_s:.0f} s", flush=True)


def _epoch(
    model: nn.Sequential,
    known: Batches,
    recipe: Recipe,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> float:
    model.train()
    total = 0.0
    batches = known.shuffled(recipe.batch)
    for batch in batches:
        images = augment(batch.images, recipe.shift_pixels).contiguous(memory_format=torch.channels_last)
        loss = functional.cross_entropy(model(images), batch.classes, label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        total += loss.item()
    return total / len(batches)


def augment(images: Tensor, shift_pixels: int) -> Tensor:
    """Each image of (n, 1, h, w) mirrored with probability 1/2 and shifted, the gap filled with zeros."""
    count, _, height, width = images.shape
    mirrored = torch.where(torch.rand(count, 1, 1, 1) < 0.5, images.flip(3), images)
    padded = functional.pad(mirrored, [shift_pixels] * 4)[:, 0]
    down, right = torch.randint(0, 2 * shift_pixels + 1, (2, count, 1))
    rows = (torch.arange(height) + down)[:, :, None]
    columns = (torch.arange(width) + right)[:, None, :]
    return padded[torch.arange(count)[:, None, None], rows, columns][:, None]


def accuracy(model: nn.Sequential, samples: Samples) -> float:
    """Fraction of the samples whose highest score is that of their class."""
    model.eval()
    with torch.inference_mode():
        correct = [
            (model(batch.images).argmax(1) == batch.classes).sum().item()
            for batch in Batches.of(samples).in_order(500)
        ]
    return float(sum(correct)) / len(samples.y)


def main() -> None:
    """Train, evaluate, export."""
    arguments = _arguments()
    recipe = RECIPES[arguments.network]
    recipe = replace(recipe, epochs=arguments.epochs or recipe.epochs)
    torch.set_num_threads(recipe.threads)
    torch.manual_seed(recipe.seed)
    samples = split(arguments.data)
    model = ARCHITECTURES[arguments.network]().to(memory_format=torch.channels_last)
    train(model, samples.train, samples.calibration, recipe)
    print(f"test set: {accuracy(model, samples.evaluation):.2%}")
    path = (arguments.out or Path(__file__).parent / arguments.network) / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(to_onnx(model, arguments.network, INPUT_SHAPE), path)
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", choices=sorted(ARCHITECTURES))
    parser.add_argument("--data", type=Path, default=DEBIAN_FOLDER, help="folder of the four idx.gz files")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's number")
    parser.add_argument("--out", type=Path, help="folder of model.onnx (default: the example's own)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
