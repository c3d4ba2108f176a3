"""When an update is due: the decision as a table, then on drops and a ledger."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.drops import rows, write
from tidegate.flows.cli import app
from tidegate.flows.home import Home
from tidegate.flows.ingest import IngestError, ingest
from tidegate.flows.intake.pseudonym import pseudonym_key
from tidegate.flows.ledger import Ledger
from tidegate.flows.locks import one_at_a_time
from tidegate.flows.usage import UsageError
from tidegate.flows.waking import Waking, look, wake
from tidegate.gates.audit import statement
from tidegate.gates.digest import digest_bytes

DAY = 86_400.0
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("new", "days", "due", "says"),
    [
        (200, 0.1, True, "enough new rows: 200 new rows of 200, last update 0.1 days ago"),
        (199, 6.9, False, "too few new rows, and not too long yet"),
        (1, 7.0, True, "too long since the last update (limit 7.0 days)"),
        (0, 70.0, False, "nothing new to learn"),
        (199, None, False, "no update yet"),
        (200, None, True, "no update yet"),
        (1, -1.0, False, "too few new rows"),  # a clock that was set back wakes nobody
    ],
)
def test_enough_rows_or_too_long(new: int, days: float | None, due: bool, says: str) -> None:
    since = None if days is None else days * DAY
    found = wake(new, since, rows=200, age=7 * DAY)
    assert (found.due, found.exit_code) == (due, 0 if due else 2)
    assert says in found.reason


@pytest.mark.parametrize("limits", [(0, DAY), (1, 0.0), (1, float("nan")), (1, float("inf"))])
def test_limits_that_mean_nothing_are_refused(limits: tuple[int, float]) -> None:
    with pytest.raises(UsageError, match="rows must be 1 or more"):
        wake(5, None, rows=limits[0], age=limits[1])


class Place:
    """A home and a drop folder."""

    def __init__(self, folder: Path) -> None:
        self.home, self.drops = Home(folder / "home"), folder / "drops"
        self.drops.mkdir()

    def deliver(self, name: str, content: list[dict[str, Any]]) -> None:
        write(self.drops / f"{name}.jsonl", content)

    def decided(self, *, days_ago: float, model: str = "assistant", act: str = "reject") -> str:
        """Decide about all that lies in the folder now, as an update does."""
        made = ingest(
            [self.drops],
            home=self.home,
            out=self.home.updates / "arrived",
            pseudonym_key=pseudonym_key(self.home),
            now=NOW,
        )
        record = statement(
            act="decide",
            model=model,
            subjects={"batch": made.digest, "base": digest_bytes(b"base")},
            about={
                "decision_id": f"u-{model}-{made.digest[-8:]}", "action": act, "version": "2", "parent": "1",
                "rulings": [],
            },
            decided_at=NOW - timedelta(days=days_ago),
        )  # fmt: skip
        if act == "promote":
            self._blessed(model)
        return Ledger(self.home.ledger).append(record)

    def _blessed(self, model: str) -> None:
        """Version 1 serves, so that another one can take its place."""
        record = statement(
            act="bless",
            model=model,
            subjects={"base": digest_bytes(b"base")},
            about={"decision_id": f"bless {model}"},
            decided_at=NOW - timedelta(days=99),
        )
        Ledger(self.home.ledger).append(record)

    def look(self, rows: int = 20, **more: Any) -> Waking:
        given = {"age": 7 * DAY, "now": NOW, "model": "assistant", **more}
        return look([self.drops], self.home, rows=rows, **given)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_rows_that_an_update_judged_are_not_new(place: Place) -> None:
    place.deliver("monday", rows(24))
    assert (place.look().new_rows, place.look().due) == (24, True)
    last = place.decided(days_ago=1)
    assert place.look().last == last
    assert (place.look().new_rows, place.look().due) == (0, False)
    place.deliver("tuesday", rows(30))  # 24 of them again
    assert (place.look().new_rows, place.look().due) == (6, False)
    assert place.look(rows=6).due
    assert place.look(age=DAY).due, "a day since, and six new rows"


def test_each_line_has_its_own_clock_and_rows(place: Place) -> None:
    place.deliver("monday", rows(24))
    place.decided(days_ago=1, model="other")
    assert (place.look().new_rows, place.look().since) == (24, None)


def test_rows_that_nothing_could_learn_from_wake_nobody(place: Place) -> None:
    refused = [{**row, "id": f"no-{row['id']}", "consent": False} for row in rows(24)]
    broken = [{**row, "id": f"bad-{row['id']}", "time": "once"} for row in rows(24)]
    place.deliver("monday", [*refused, *broken, *rows(3)])
    assert place.look().new_rows == 3


def test_a_batch_that_is_gone_makes_its_rows_new(place: Place) -> None:
    place.deliver("monday", rows(24))
    place.decided(days_ago=1)
    for path in place.home.root.glob("batches/*/records.parquet"):
        path.unlink()
    assert place.look().new_rows == 24


def test_looking_writes_nothing(place: Place) -> None:
    place.deliver("monday", rows(24))
    place.look()
    assert not place.home.root.exists()


def test_a_running_update_is_waited_for(place: Place) -> None:
    place.deliver("monday", rows(24))
    with one_at_a_time(place.home, "assistant"):
        found = place.look()
        assert (found.due, found.exit_code) == (False, 2)
        assert found.reason.startswith("an update of 'assistant' is running")
    assert place.look().due


@pytest.mark.parametrize("named", ["", "*.jsonl"], ids=["folder", "glob"])
def test_a_folder_that_was_emptied_wakes_nobody(place: Place, named: str) -> None:
    """The clock looks into it every few minutes, and most of the time all was taken away."""
    place.drops.mkdir(exist_ok=True)
    given = {"rows": 1, "age": DAY, "drifting": True}
    found = look([place.drops / named], place.home, "assistant", **given)
    assert (found.due, found.new_rows, found.exit_code) == (False, 0, 2)


@pytest.mark.parametrize("named", ["none.jsonl", "none", "none/*.jsonl"])
def test_no_drop_is_an_error_and_no_answer(place: Place, named: str) -> None:
    with pytest.raises(IngestError):
        look([place.drops / named], place.home, "assistant", rows=1, age=DAY)


@pytest.mark.parametrize(("rows_wanted", "code"), [("24", 0), ("25", 2)])
def test_the_command_says_it_with_its_exit_code(
    place: Place, rows_wanted: str, code: int
) -> None:
    place.deliver("monday", rows(24))
    words = ["due", str(place.drops), "--rows", rows_wanted, "--home", str(place.home.root)]
    done = CliRunner().invoke(app, [*words, "--json"], env=dict(os.environ))
    assert done.exit_code == code, done.output
    assert '"new_rows": 24' in done.output
