import os

# Before tvm is imported: its thread pool would bind the process to a core.
os.environ.setdefault("TVM_NUM_THREADS", "1")
os.environ.setdefault("TVM_BIND_THREADS", "0")

import numpy as np
import pytest

from network.execute import Executor
from network.isas import known
from network.target import Target, host_features
from network.variants import Fitted, Form, Step, Variant

RUNNABLE = [isa for isa in known() if host_features().issuperset(isa.requires)]


@pytest.fixture(scope="session", params=RUNNABLE, ids=lambda isa: isa.name)
def executor(request):
    """One for each instruction set that this machine has."""
    isa = request.param
    return Executor(Target(Target.host().mtriple, isa.mcpu, isa.mattr))


@pytest.fixture(scope="session")
def compute(executor):
    """Run one kernel on one sample of any shape; gives (height, width, channels)."""

    def run(kernel, x, parameters, tile=None):
        source = kernel.arguments(executor.target.isa)[0]
        sample = np.ascontiguousarray(x).reshape(1, *source.shape)
        forms = Form(source.dtype), Form(kernel.output_dtype)
        fitted = Fitted(Variant("layer", "exact", *forms, (kernel,)), (Step(kernel, parameters),))
        return executor.run_variant(fitted, sample).reshape(kernel.output_shape)

    return run
