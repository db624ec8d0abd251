"""What a kernel is compiled for: a pure record; TVM is imported only by ``to_tvm``."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from network.errors import NetworkError
from network.isa import Isa
from network.isas import known, select


@dataclass(frozen=True, slots=True)
class Target:
    """Triple, processor and features as LLVM names them, and how many threads a kernel may use."""

    mtriple: str
    mcpu: str
    mattr: tuple[str, ...]
    threads: int = 1

    @classmethod
    def for_features(cls, architecture: str, features: Iterable[str]) -> Target:
        """The best target for a Linux device that says so of itself (``uname -m`` and /proc/cpuinfo).

        Raises NetworkError when no instruction set fits.
        """
        isa = select(features)
        return cls(mtriple=f"{architecture}-linux-gnu", mcpu=isa.mcpu, mattr=isa.mattr)

    @classmethod
    def host(cls) -> Target:
        """The target of this machine. Raises NetworkError when it is not a Linux that is known."""
        return cls.for_features(platform.machine(), host_features())

    @property
    def isa(self) -> Isa:
        """The instruction set of the kernels. Raises NetworkError when there is none for this target."""
        for isa in known():
            if (isa.mcpu, isa.mattr) == (self.mcpu, self.mattr):
                return isa
        names = ", ".join(" ".join((isa.mcpu, *isa.mattr)) for isa in known())
        raise NetworkError(f"no instruction set for target {self.key}; known are {names}: use one of them")

    @property
    def key(self) -> str:
        """Equal for equal targets, in every process."""
        return " ".join((self.mtriple, self.mcpu, *self.mattr, f"threads={self.threads}"))

    def to_tvm(self) -> Any:
        """The ``tvm.target.Target``."""
        from tvm.target import Target as TvmTarget

        description = {"kind": "llvm", "mtriple": self.mtriple, "mcpu": self.mcpu, "num-cores": self.threads}
        return TvmTarget({**description, "mattr": list(self.mattr)} if self.mattr else description)


def host_features(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Features of this machine's processor. Raises NetworkError where Linux does not list them."""
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    raise NetworkError(f"{cpuinfo} lists no processor features; run on Linux, or name the target yourself")
