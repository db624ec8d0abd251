"""The code on the pages about adding things, run as it stands there."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from network.approximations.lowering import kernels
from network.approximations.registry import formats
from network.approximations.stages import whole
from network.execute import Executor
from network.isas import known
from network.reference import run_steps
from network.variants import Fitted, Form, Step, Variant
from tests.network.approximations.test_methods import context_of, conv

PAGES = Path(__file__).parents[2] / "docs"


@pytest.fixture
def page(request: pytest.FixtureRequest):
    """The Python of a page, as one module."""
    name = request.param
    text = (PAGES / f"{name}.md").read_text()
    module = ModuleType(name.replace("-", "_"))
    module.np = np
    # Dataclasses look their module up.
    sys.modules[module.__name__] = module
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, f"{name}.md", "exec"), vars(module))  # noqa: S102 - the pages are our own
    yield module
    del sys.modules[module.__name__]


def compute(kernel, x, parameters):
    executor = Executor()
    source, *_ = kernel.arguments(executor.target.isa)
    form = Form("float32")
    fitted = Fitted(Variant("layer", "exact", form, form, (kernel,)), (Step(kernel, parameters),))
    return executor.run_variant(fitted, x.reshape(1, *source.shape)).reshape(kernel.output_shape)


@pytest.mark.parametrize("page", ["adding-a-kernel"], indirect=True)
def test_the_kernel_that_is_added_works(page):
    page.test_subtract(compute)
    kernel, parameters = page.Subtract((2, 3, 21)), {"amount": np.array([2.5], np.float32)}
    x = np.ones((1, 2, 3, 21), np.float32)
    np.testing.assert_array_equal(page.subtract(kernel, parameters, x)[0], compute(kernel, x[0], parameters))
    for isa in known():
        packed = kernel.pack(isa, parameters)
        assert [each.shape for each in packed] == [each.shape for each in kernel.arguments(isa)[1:-1]]


@pytest.mark.parametrize("page", ["adding-an-approximation"], indirect=True)
def test_the_approximation_that_is_added_works(page):
    rng = np.random.default_rng(0)
    layer = conv(rng.normal(size=(16, 3, 3, 8)), relu=True)
    x = rng.normal(size=(8, 8, 8, 8)).astype(np.float32)
    context = context_of(layer, x)
    page.test_columns_are_repeated((whole(layer), context))
    stages = page.METHOD.fit(whole(layer), context, None)["2"]
    parameters = formats()["exact"].parameters(stages, context, "float32")
    lowered = kernels(stages, "float32", "float32", rectifies=False)
    steps = [Step(*each) for each in zip(lowered, parameters, strict=True)]
    expected = stages[1].run(stages[0].run(x))
    np.testing.assert_allclose(run_steps(steps, x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("page", sorted(each.name for each in PAGES.glob("*.md")))
def test_links_between_pages_lead_somewhere(page: str):
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", (PAGES / page).read_text())
    missing = [each for each in targets if not (PAGES / each).exists()]
    assert not missing
