"""What was computed lately, by content: bounded in bytes, the longest unused goes first."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from typing import Generic, TypeVar

from network.variants import Fitted

LARGEST_SHARE = 4
"""What would take more than this part of the whole is not kept: it would push out too much."""

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """Values by key, as many as fit into ``most_bytes``; what is kept is not to be changed."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.kept_bytes = 0
        self._kept: OrderedDict[str, tuple[Value, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: str) -> Value | None:
        """What was kept under this key, now the last to go."""
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key][0]

    def welcomes(self, nbytes: int) -> bool:
        """Whether a value of that size would be kept."""
        return nbytes <= self.most_bytes // LARGEST_SHARE

    def keep(self, key: str, value: Value, nbytes: int) -> None:
        """Keep it if it is not too large, at the expense of what was not asked for lately."""
        if key in self._kept or not self.welcomes(nbytes):
            return
        self._kept[key] = (value, nbytes)
        self.kept_bytes += nbytes
        while self.kept_bytes > self.most_bytes:
            _, (_, freed) = self._kept.popitem(last=False)
            self.kept_bytes -= freed


def chained(*parts: str, behind: Iterable[str] = ()) -> str:
    """A content key of something and of the keys of what it is computed from."""
    return hashlib.sha256("\n".join([*parts, *behind]).encode()).hexdigest()


def fitted_key(fitted: Fitted) -> str:
    """Content key of a variant with its parameters."""
    digest = hashlib.sha256(f"{fitted.variant.layer} {fitted.variant.key}".encode())
    for step in fitted.steps:
        digest.update(step.kernel.key.encode())
        for name in sorted(step.parameters):
            digest.update(f"{name} {step.parameters[name].dtype} {step.parameters[name].shape}".encode())
            digest.update(step.parameters[name].tobytes())
    return digest.hexdigest()


def fitted_bytes(fitted: Fitted) -> int:
    """What its parameters take before they are packed."""
    return sum(each.nbytes for step in fitted.steps for each in step.parameters.values())
