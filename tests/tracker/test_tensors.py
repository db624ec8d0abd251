import pytest
from tvm import rpc

from tracker.remote import RemoteDevice
from tracker.tensors import Tensors
from tracker.timing import Argument

ROW, TABLE = Argument((64,), "float32"), Argument((8, 8), "float32")


@pytest.fixture
def tensors() -> Tensors:
    """Of this process, behind TVM's RPC protocol."""
    return RemoteDevice(rpc.LocalSession()).tensors


def test_tensors_of_the_last_function_serve_the_next_one(tensors: Tensors) -> None:
    first = tensors.filled([ROW, TABLE, ROW])
    again = tensors.filled([TABLE, ROW, ROW, ROW])
    assert again[0].same_as(first[1])
    assert again[1].same_as(first[0])
    assert again[2].same_as(first[2])
    assert not any(again[3].same_as(each) for each in first)
    assert [each.shape for each in again] == [(8, 8), (64,), (64,), (64,)]


def test_one_call_never_gets_a_tensor_twice(tensors: Tensors) -> None:
    tensors.filled([ROW])
    left, right = tensors.filled([ROW, ROW])
    assert not left.same_as(right)


def test_what_the_last_function_did_not_need_is_let_go(tensors: Tensors) -> None:
    (first,) = tensors.filled([ROW])
    tensors.filled([TABLE])
    (later,) = tensors.filled([ROW])
    assert not later.same_as(first)


def test_what_is_filled_differently_is_another_tensor(tensors: Tensors) -> None:
    (first,) = tensors.filled([ROW])
    (zeros,) = tensors.filled([Argument((64,), "float32", "zeros")])
    assert not zeros.same_as(first)
    assert zeros.numpy().tolist() == [0.0] * 64
    assert len(set(first.numpy().tolist())) > 1
