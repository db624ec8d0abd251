import numpy as np
import pytest
import tvm
from tvm import rpc

from tests.tracker.servers import state_of, wait_until
from tracker.address import Address
from tracker.device import Description, DeviceKey


def test_any_tvm_client_can_use_the_agent(tracker: Address, agent: DeviceKey) -> None:
    remote = rpc.connect_tracker(tracker.host, tracker.port).request(str(agent), session_timeout=30)
    description = Description.from_json(remote.get_function("blinknet.describe")())
    assert description.agent == "blinknet"
    megabytes = np.ones(8 << 20, np.uint8)
    remote.get_function("blinknet.reset_peak")()
    before = remote.get_function("blinknet.resident_bytes")()
    tensor = tvm.runtime.tensor(megabytes, remote.cpu())
    after = remote.get_function("blinknet.resident_bytes")()
    peak = remote.get_function("blinknet.peak_bytes")()
    assert (tensor.numpy() == megabytes).all()
    del tensor, remote
    assert after - before == pytest.approx(megabytes.nbytes, rel=0.1)
    assert peak >= before + megabytes.nbytes


def test_any_tvm_client_hears_that_its_time_is_over(tracker: Address, agent: DeviceKey) -> None:
    remote = rpc.connect_tracker(tracker.host, tracker.port).request(str(agent), session_timeout=0.3)
    assert wait_until(lambda: state_of(tracker, agent) == "free")
    with pytest.raises(tvm.error.RPCSessionTimeoutError):
        remote.get_function("blinknet.resident_bytes")
    del remote
