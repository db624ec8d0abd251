import signal

import pytest
import tvm  # noqa: F401 - all of it: a test that loads a bundle first would load its runtime alone

from tests.small_network import Small, make

# Where the tests are started in the background it is ignored, and would be by every process that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return make(tmp_path_factory.mktemp("small") / "small.onnx")
