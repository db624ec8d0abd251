import os
import platform

# Before tvm is imported: its thread pool would bind the process to a core.
os.environ.setdefault("TVM_NUM_THREADS", "1")
os.environ.setdefault("TVM_BIND_THREADS", "0")

import numpy as np
import pytest

from network.execute import Executor
from network.isas import known
from network.target import Target, host_features
from network.variants import Fitted, Form, Step, Variant
from tests.network.kernels.emulated import PROCESSORS, Emulator

RUNNABLE = [isa for isa in known() if isa.fits(platform.machine(), host_features())]
EMULATED = [each for each in PROCESSORS if each.name not in {isa.name for isa in RUNNABLE}]


@pytest.fixture(scope="session", params=[*RUNNABLE, *EMULATED], ids=lambda place: place.name)
def compute(request, tmp_path_factory):
    """Run one kernel on one sample of any shape; gives (height, width, channels).

    One for each instruction set that this machine has or that can be emulated.
    """
    if request.param in RUNNABLE:
        isa = request.param
        yield _native(Executor(Target(Target.host().mtriple, isa.mcpu, isa.mattr)))
        return
    if missing := request.param.missing:
        pytest.skip(f"{', '.join(missing)} not found: run scripts/install-system-packages")
    with Emulator(request.param, tmp_path_factory.mktemp(request.param.name)) as emulator:
        yield emulator.compute


def _native(executor):
    def run(kernel, x, parameters):
        sources = kernel.arguments(executor.target.isa)[: kernel.inputs]
        xs = x if isinstance(x, tuple) else (x,)
        samples = [np.ascontiguousarray(x).reshape(1, *s.shape) for x, s in zip(xs, sources, strict=True)]
        forms = Form(sources[0].dtype), Form(kernel.output_dtype)
        fitted = Fitted(Variant("layer", "exact", *forms, (kernel,)), (Step(kernel, parameters),))
        return executor.run_variant(fitted, *samples).reshape(kernel.output_shape)

    return run
