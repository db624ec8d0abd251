import pytest
import tvm  # noqa: F401 - all of it: a test that loads a bundle first would load its runtime alone

from tests.small_network import Small, make


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return make(tmp_path_factory.mktemp("small") / "small.onnx")
