"""What a kernel is compiled for and runs on: a pure record; TVM is imported only by ``to_tvm``."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass, replace
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
    emulated: bool = False
    """Whether an emulator runs the kernels: their times never stand for those of a real processor."""

    @classmethod
    def for_features(cls, architecture: str, features: Iterable[str]) -> Target:
        """The best target for a Linux device that says so of itself (``uname -m`` and /proc/cpuinfo).

        Raises NetworkError when no instruction set fits.
        """
        mtriple = triple(architecture)
        isa = select(_architecture(mtriple), features)
        return cls(mtriple=mtriple, mcpu=isa.mcpu, mattr=isa.mattr)

    @classmethod
    def host(cls) -> Target:
        """The target of this machine. Raises NetworkError when it is not a Linux that is known."""
        return cls.for_features(platform.machine(), host_features())

    @property
    def isa(self) -> Isa:
        """The instruction set of the kernels, with their threads. Raises NetworkError when there is none."""
        architecture = _architecture(self.mtriple)
        candidates = [isa for isa in known() if isa.architecture == architecture]
        for isa in candidates:
            if (isa.mcpu, isa.mattr) == (self.mcpu, self.mattr):
                return replace(isa, threads=self.threads)
        names = ", ".join(" ".join((isa.mcpu, *isa.mattr)) for isa in candidates) or "none"
        raise NetworkError(
            f"no instruction set for target {self.key}; known for {architecture} are {names}: "
            "use one of them, or add a file to network/isas"
        )

    def missing(
        self, architecture: str, features: Iterable[str], *, emulated: bool = False
    ) -> tuple[str, ...]:
        """What the kernels need and a device that says so of itself lacks: features, or the architecture.

        Emulated and real devices share no class: their times have nothing in common.
        """
        isa = self.isa
        if emulated != self.emulated:
            return ("a real processor" if emulated else "an emulated processor",)
        if _architecture(triple(architecture)) != isa.architecture:
            return (isa.architecture,)
        return tuple(sorted(set(isa.requires) - set(features)))

    @property
    def key(self) -> str:
        """Equal for equal targets, in every process."""
        how = (f"threads={self.threads}", *(("emulated",) if self.emulated else ()))
        return " ".join((self.mtriple, self.mcpu, *self.mattr, *how))

    def to_tvm(self) -> Any:
        """The ``tvm.target.Target``."""
        from tvm.target import Target as TvmTarget

        description = {"kind": "llvm", "mtriple": self.mtriple, "mcpu": self.mcpu, "num-cores": self.threads}
        if self.mtriple.endswith("hf"):
            description["mfloat-abi"] = "hard"
        return TvmTarget({**description, "mattr": list(self.mattr)} if self.mattr else description)


def triple(architecture: str) -> str:
    """LLVM's name of Linux on an architecture, which is named as by ``uname -m``."""
    if architecture in _ARM_32:
        return "armv7l-linux-gnueabihf"
    return f"{architecture}-linux-gnu"


_ARM_32 = ("armv7l", "armv8l")
"""The second is a 64-bit processor in its 32-bit mode."""


def _architecture(mtriple: str) -> str:
    return mtriple.partition("-")[0]


def host_features(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Features of this machine's processor. Raises NetworkError where Linux does not list them."""
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
        if name.strip() == "isa":
            return frozenset(_riscv_extensions(value.strip()))
    raise NetworkError(f"{cpuinfo} lists no processor features; run on Linux, or name the target yourself")


def _riscv_extensions(isa: str) -> list[str]:
    """Of ``rv64imafdc_zicsr_zba``: one letter each, then those with names."""
    letters, *names = isa.split("_")
    return [*letters.removeprefix("rv64"), *names]
