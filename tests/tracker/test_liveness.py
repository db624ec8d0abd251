"""Signs of life of real servers, and of ports that are something else."""

import os
import signal
import socket
import threading

from tests.tracker.servers import Kind, stock_server, wait_until
from tracker.address import Address
from tracker.device import DeviceKey
from tracker.inventory import registered
from tracker.liveness import SILENCES, Watchdog, answers
from tracker.session import Session

KEY = DeviceKey("lab", "lively")


def place(tracker: Address, key: DeviceKey) -> Address:
    (found,) = [each.address for each in registered(tracker) if each.key == str(key)]
    return found


def test_an_agent_answers_free_and_busy_but_not_frozen(tracker: Address, kind: Kind) -> None:
    with kind.start(tracker, KEY) as agent:
        there = place(tracker, KEY)
        assert answers(there)
        with Session.open(tracker, KEY):
            assert answers(there)
        os.kill(agent.pid, signal.SIGSTOP)
        try:
            assert not answers(there, timeout_s=0.3)
        finally:
            os.kill(agent.pid, signal.SIGCONT)
        assert wait_until(lambda: answers(there))
    assert not answers(there)


def test_a_question_does_not_use_up_the_device(tracker: Address, kind: Kind) -> None:
    with kind.start(tracker, KEY):
        assert all(answers(place(tracker, KEY)) for _ in range(100))
        with Session.open(tracker, KEY) as session:
            assert session.describe().pid > 0


def test_a_stock_server_answers_while_it_is_free(tracker: Address) -> None:
    key = DeviceKey("lab", "foreign")
    with stock_server(tracker, key):
        assert answers(place(tracker, key))


def test_what_speaks_another_language_is_no_device() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        silent = Address("127.0.0.1", listening.getsockname()[1])
        assert not answers(silent, timeout_s=0.2)

        def chat() -> None:
            for _ in range(2):
                connection, _ = listening.accept()
                with connection:
                    connection.sendall(b"220 mail")
                    connection.recv(64)

        threading.Thread(target=chat, daemon=True).start()
        assert not answers(silent, timeout_s=1.0)


def test_one_lost_answer_does_not_count() -> None:
    signs = iter([True, *[False] * (SILENCES - 1), True, *[False] * SILENCES])
    watchdog = Watchdog(Address("127.0.0.1", 1), lambda _: next(signs))
    assert [watchdog.silent() for _ in range(2 * SILENCES + 1)] == [*[False] * (2 * SILENCES), True]
