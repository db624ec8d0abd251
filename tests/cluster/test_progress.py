"""What is shown of a run while it goes on."""

from io import StringIO

import pytest
from rich.console import Console

from cluster.coordinator import Progress
from cluster.progress import MOST_DEVICES, ProgressView


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.progress.PLAIN_EVERY_S", 0.0)


def shown(*progress: Progress) -> str:
    stream = StringIO()
    with ProgressView(Console(file=stream)) as view:
        view(lambda: progress)
    return stream.getvalue()


@pytest.mark.usefixtures("at_once")
def test_a_few_devices_are_shown_one_by_one():
    text = shown(Progress("a.1", "measuring", 3, 9), Progress("b.1", "done", 5, 5))
    assert "a.1 measuring 3/9" in text
    assert "b.1 done 5/5" in text


@pytest.mark.usefixtures("at_once")
def test_of_a_large_fleet_the_classes_are_shown():
    units = [Progress(f"a.{n}", "measuring" if n else "lost", 30, 90) for n in range(MOST_DEVICES)]
    text = shown(*units, Progress("b.1", "done", 5, 5))
    assert f"a 1 lost, {MOST_DEVICES - 1} measuring 30/90" in text
    assert "b done 5/5" in text
    assert "a.1" not in text


def test_before_it_is_time_nobody_is_asked():
    asked = []
    with ProgressView(Console(file=StringIO())) as view:
        view(lambda: asked.append(1) or ())
    assert asked == []


@pytest.mark.usefixtures("at_once")
def test_the_best_so_far_is_shown():
    assert "a.1 measuring 3/9 0.0/s best +0.10 pp" in shown(
        Progress("a.1", "measuring", 3, 9, "best +0.10 pp (-0.10 to +0.30), 1.2 ms at most")
    )
