"""The whole cycle with several training processes: same adapter, recorded, and none decides alone."""

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.test_ranks import processes_of
from tests.test_update import World
from tidegate.flows.errors import USAGE_ERRORS
from tidegate.flows.ledger import Ledger
from tidegate.flows.one_update import UpdateResult
from tidegate.flows.processes import training_processes
from tidegate.flows.usage import UsageError
from tidegate.gates.types import Action
from tidegate.training.trained import LostRank

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("one_thread", "floor_of_batches"),
]


def update(world: World, drop: Path, processes: int) -> UpdateResult:
    from tidegate.flows.update import update as run

    result: UpdateResult = run(**world.arguments(drop, method="replay"), processes=processes)
    return result


def statement(world: World, result: UpdateResult) -> dict[str, Any]:
    found: dict[str, Any] = dict(Ledger(world.home.ledger).read())[result.statement]
    return found


def adapter(world: World, result: UpdateResult) -> str:
    (digest,) = (
        subject["digest"]["sha256"]
        for subject in statement(world, result)["subject"]
        if subject["name"] == "adapter"
    )
    return str(digest)


def kill_one(stop: threading.Event) -> None:
    """SIGKILL for rank 1 as soon as it is there."""
    while not stop.wait(0.1):
        found = processes_of(os.getpid())
        if 1 in found:
            time.sleep(1)
            os.kill(found[1], signal.SIGKILL)
            return


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
def test_two_processes_are_recorded_and_make_what_one_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STARTED_BY_TEST", str(os.getpid()))
    (tmp_path / "two").mkdir()
    (tmp_path / "one").mkdir()
    two, one = World(tmp_path / "two"), World(tmp_path / "one")

    stop = threading.Event()
    killer = threading.Thread(target=kill_one, args=(stop,))
    killer.start()
    with pytest.raises(LostRank, match="run the same command again") as lost:
        update(two, two.clean, 2)
    stop.set()
    killer.join()
    assert isinstance(lost.value, USAGE_ERRORS), "one line, and no decision"
    acts = [e["predicate"]["act"] for _, e in Ledger(two.home.ledger).read()]
    assert acts == ["bless"], "nothing was decided"

    first = update(two, two.clean, 2)
    assert first.decision.action is Action.PROMOTE, first.decision
    training = statement(two, first)["predicate"]["about"]["training"]
    assert (training["processes"], training["threads"]) == (2, 1)
    alone = update(one, one.clean, 1)
    assert statement(one, alone)["predicate"]["about"]["training"]["processes"] == 1
    assert adapter(two, first) == adapter(one, alone)

    second = update(two, two.next, 2)  # continued from the champion, with rows of it
    assert second.decision.action is Action.PROMOTE, second.decision
    assert adapter(two, second) == adapter(one, update(one, one.next, 1))


@pytest.mark.parametrize(
    ("asked", "named", "number"),
    [(None, None, 1), (None, "", 1), (None, "2", 2), (3, None, 3), (3, "2", 3), (1, "2", 1)],
)
def test_the_option_wins_over_the_machines_variable(
    asked: int | None, named: str | None, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TIDEGATE_PROCESSES", raising=False)
    if named is not None:
        monkeypatch.setenv("TIDEGATE_PROCESSES", named)
    assert training_processes(asked) == number


@pytest.mark.parametrize("named", ["0", "-1", "two", "1.5", "65", "²"])
def test_a_number_that_cannot_be_meant_is_refused(
    named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEGATE_PROCESSES", named)
    with pytest.raises(
        UsageError, match=f"{named}.* training processes .*there can be 1 to 64"
    ):
        training_processes(None)
