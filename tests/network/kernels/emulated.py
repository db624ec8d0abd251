"""Processors that this machine is not: kernels are cross-compiled and run under qemu's user mode.

One process a processor runs all its kernels; what it takes is in scripts/install-system-packages.
"""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from network.build import build_library, request_key
from network.isas import known
from network.target import Target, triple

SOURCE = Path(__file__).with_name("device.c")
CODES = {"i": 0, "u": 1, "f": 2}
"""DLPack's, by numpy's kind."""


@dataclass(frozen=True, slots=True)
class Processor:
    """One that has an instruction set and nothing beyond it, as qemu and Debian's cross compilers name it."""

    name: str
    """The instruction set's."""
    qemu: str
    cpu: str
    gnu: str

    @property
    def target(self):
        isa = next(isa for isa in known() if isa.name == self.name)
        return Target(triple(isa.architecture), isa.mcpu, isa.mattr)

    @property
    def missing(self):
        """Programs that it takes and that are not installed."""
        return [name for name in (self.qemu, f"{self.gnu}-gcc") if shutil.which(name) is None]


PROCESSORS = (
    Processor("aarch64", "qemu-aarch64-static", "cortex-a72", "aarch64-linux-gnu"),
    Processor("aarch64_dotprod", "qemu-aarch64-static", "cortex-a76", "aarch64-linux-gnu"),
    Processor("aarch64_i8mm", "qemu-aarch64-static", "max", "aarch64-linux-gnu"),
    Processor("armv7l", "qemu-arm-static", "cortex-a7", "arm-linux-gnueabihf"),
    Processor("riscv64", "qemu-riscv64-static", "sifive-u54", "riscv64-linux-gnu"),
)


class Emulator:
    """A process on a processor, which loads the libraries and calls the kernels that it is told to."""

    def __init__(self, processor, folder):
        self.target = processor.target
        self._folder = folder
        self._calls = {}
        program = folder / "device"
        subprocess.run([f"{processor.gnu}-gcc", "-O1", "-o", program, SOURCE, "-ldl"], check=True)
        self._process = subprocess.Popen(
            [processor.qemu, "-cpu", processor.cpu, "-L", f"/usr/{processor.gnu}", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def compute(self, kernel, x, parameters):
        """One kernel on one sample of any shape, or a tuple of samples; gives (height, width, channels)."""
        isa = self.target.isa
        *arguments, result = kernel.arguments(isa)
        xs = x if isinstance(x, tuple) else (x,)
        sources = arguments[: kernel.inputs]
        read = [np.ascontiguousarray(x).reshape(s.shape) for x, s in zip(xs, sources, strict=True)]
        written = np.zeros(result.shape, result.dtype)
        library, symbol = self._built(kernel)
        self._call(library, symbol, [*read, *kernel.pack(isa, parameters), written])
        return self._answer(written).reshape(kernel.output_shape)

    def _built(self, kernel):
        tile = kernel.tiles(self.target.isa)[0]
        key = request_key(kernel, tile)
        if key not in self._calls:
            path = self._folder / f"{len(self._calls)}.so"
            library = build_library([(kernel, tile)], self.target, path)
            assert library.failures == {}
            self._calls[key] = path, library.symbols[key]
        return self._calls[key]

    def _call(self, library, symbol, tensors):
        message = [f"{library} __tvm_ffi_{symbol} {len(tensors)}\n".encode()]
        for tensor in tensors:
            numbers = CODES[tensor.dtype.kind], tensor.dtype.itemsize * 8, tensor.ndim, *tensor.shape
            message += [" ".join(map(str, numbers)).encode() + b"\n", tensor.tobytes()]
        self._process.stdin.write(b"".join(message))
        self._process.stdin.flush()

    def _answer(self, like):
        data = self._process.stdout.read(like.nbytes)
        if len(data) < like.nbytes:
            raise RuntimeError(f"the emulated processor ended with {self._process.wait()}")
        return np.frombuffer(data, like.dtype).reshape(like.shape)
