import json
import os
import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import tvm
from tvm import rpc

from tests.tracker.models import MATMUL
from tests.tracker.servers import state_of, wait_until
from tracker.address import Address
from tracker.device import Description, DeviceKey
from tracker.session_timing import OwnTiming
from tracker.timing import TimingPolicy


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


def test_an_upload_can_be_checked(tracker: Address, agent: DeviceKey) -> None:
    remote = rpc.connect_tracker(tracker.host, tracker.port).request(str(agent), session_timeout=30)
    checksum = remote.get_function("blinknet.checksum")
    content = np.random.default_rng(0).bytes(300_000)
    remote.upload(bytearray(content), "library.so")
    remote.upload(bytearray(content[:-1]), "cut.so")
    assert checksum("library.so") == f"{zlib.crc32(content):08x}"
    assert checksum("cut.so") == f"{zlib.crc32(content[:-1]):08x}"
    with pytest.raises(tvm.error.RPCError):
        checksum("none.so")
    del remote, checksum


def test_any_tvm_client_hears_that_its_time_is_over(
    tracker: Address, agent: DeviceKey, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "nobody_writes")
    remote = rpc.connect_tracker(tracker.host, tracker.port).request(str(agent), session_timeout=2.0)
    read = remote.get_function("blinknet.read_text")
    with pytest.raises(tvm.error.RPCSessionTimeoutError):
        read(str(tmp_path / "nobody_writes"))
    assert wait_until(lambda: state_of(tracker, agent) == "free")
    del read, remote


def test_a_device_times_a_function_by_itself(kernels: Path) -> None:
    library, own = tvm.runtime.load_module(str(kernels)), OwnTiming()
    request = json.dumps([MATMUL.arguments, asdict(TimingPolicy(max_repeats=7))])
    number, seconds = json.loads(own(library, "matmul", request))
    assert number > 1
    assert len(seconds) <= 7
    assert min(seconds) > 0
    assert json.loads(own(library, "nothing", request)) is None
