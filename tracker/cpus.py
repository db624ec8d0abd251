"""Processors that we emulate, see ``tracker.emulation``."""

from __future__ import annotations

from typing import Final

CPUS: Final = {
    "cortex-a53": "aarch64",  # Raspberry Pi 3
    "cortex-a72": "aarch64",  # Raspberry Pi 4
    "cortex-a76": "aarch64",  # Raspberry Pi 5: with the dot product
    "Nehalem": "x86_64",  # x86-64-v2
    "rv64": "riscv64",  # with what rv64gc has
    "Haswell": "x86_64",  # x86-64-v3
}
"""Processors as qemu names them, to their architectures."""
