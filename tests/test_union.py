"""One batch of what several updates learned, and what is noted of it: rows by hand, no model."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tidegate.flows.consolidating.merged import last_steps
from tidegate.flows.consolidating.union import union
from tidegate.flows.home import Home
from tidegate.flows.intake import batches
from tidegate.flows.learned import batches_before, learned_before, parts_of, remember
from tidegate.flows.tracing.steps import Step, with_descendants
from tidegate.flows.usage import UsageError
from tidegate.gates.types import Action

WHEN = datetime(2026, 11, 20, tzinfo=UTC)


def step(version: str, parent: str, batch: str = "b", teacher: str | None = None) -> Step:
    made = (version, parent, f"u-{version}", batch, Action.PROMOTE, "a", "s", WHEN, teacher)
    return Step("m", *made)


def learned(home: Home, version: str, names: str, said: str, refused: int = 1) -> Step:
    """A promoted update, whose data gates refused the first rows."""
    rows = [
        {"id": name, "time": WHEN, "source": "chat", "user": f"of {name}", "prompt": said,
         "messages": [{"role": "user", "content": said}], "response": said, "learn": "target"}
        for name in names
    ]  # fmt: skip
    given = pa.schema([field for field in batches.SCHEMA if field.name in rows[0]])
    table = batches.filled(pa.Table.from_pylist(rows, schema=given))
    batch, draft = batches.described(table), home.root / "draft"
    draft.mkdir(parents=True)
    batches.write_records(draft / batches.RECORDS, [table])
    home.batch(batch.digest).parent.mkdir(parents=True, exist_ok=True)
    batches.publish(draft, batch, home)
    kept = home.updates / f"u-{version}" / "check" / "kept.parquet"
    kept.parent.mkdir(parents=True)
    pq.write_table(table.slice(refused), kept)
    remember(home, batch.digest, kept)
    return step(version, str(int(version) - 1), batch.digest)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def said(home: Home, digest: str) -> dict[str, str]:
    rows = pq.read_table(home.batch(digest) / batches.RECORDS).to_pylist()
    return {row["id"]: row["prompt"] for row in rows}


def test_what_was_kept_is_merged_and_the_later_record_counts(home: Home) -> None:
    steps = [learned(home, "2", "abc", "old"), learned(home, "3", "xcd", "new")]
    made = union(home, steps)
    assert said(home, made.digest) == {"b": "old", "c": "new", "d": "new"}
    assert batches.load_batch(home, made.digest, thorough=True) == made == union(home, steps)


def test_a_purged_batch_is_taken_from_what_the_update_kept(home: Home, tmp_path: Path) -> None:
    steps = [learned(home, "2", "abc", "old"), learned(home, "3", "xd", "new")]
    home.batch(steps[0].batch).rename(tmp_path / "purged")
    assert said(home, union(home, steps).digest) == {"b": "old", "c": "old", "d": "new"}
    with pytest.raises(UsageError, match=r"version 3 .* is gone"):
        union(home, [steps[0], replace(steps[1], update_id="u-nobody")])


def test_nothing_left_is_no_batch(home: Home) -> None:
    with pytest.raises(UsageError, match="nothing to merge"):
        union(home, [learned(home, "2", "ab", "old", refused=2)] * 2)


def test_its_authors_are_counted_once_and_never_against_itself(home: Home) -> None:
    """Else lifetime caps would refuse what they let pass, and repetition would be seen."""
    one, two = learned(home, "2", "abc", "old"), learned(home, "3", "xcd", "new")
    made = union(home, [one, two])
    assert parts_of(home, made.digest) == sorted([one.batch, two.batch])
    assert batches_before(home, made.digest) == []
    assert learned_before(home, made.digest).by_author == {}
    remember(home, made.digest, home.updates / "u-2" / "check" / "kept.parquet")
    assert set(batches_before(home, "sha256:" + "0" * 64)) == {one.batch, two.batch}
    assert batches_before(home, one.batch) == [two.batch]
    three = learned(home, "5", "ef", "last")
    again = union(home, [replace(two, version="4", batch=made.digest), three])
    assert set(parts_of(home, again.digest)) == {
        one.batch, two.batch, three.batch, made.digest,
    }  # fmt: skip


def test_a_damaged_list_of_parts_is_an_error(home: Home) -> None:
    made = union(home, [learned(home, "2", "ab", "old"), learned(home, "3", "xc", "new")])
    (home.batch(made.digest) / "parts.json").write_text("[")
    with pytest.raises(UsageError, match="is damaged"):
        learned_before(home, made.digest)


CHAIN = [step("2", "1"), step("3", "2"), step("4", "1", teacher="3"), step("5", "4")]
STEPS = {("m", one.version): one for one in [*CHAIN, step("6", "1")]}


def test_whoever_was_taught_by_an_affected_version_is_affected() -> None:
    found = with_descendants(STEPS, [("m", "3")])
    assert {version for _, version in found} == {"3", "4", "5"}


@pytest.mark.parametrize(
    ("champion", "last", "versions"),
    [("3", None, ["2", "3"]), ("5", None, ["4", "5"]), ("5", 2, ["4", "5"])],
)
def test_the_last_updates_lead_back_past_what_was_merged_before(
    champion: str, last: int | None, versions: list[str]
) -> None:
    assert [one.version for one in last_steps(STEPS, "m", champion, last)] == versions


@pytest.mark.parametrize(
    ("champion", "last", "match"),
    [
        ("3", 1, "two updates at least"),
        ("3", 0, "two updates at least"),
        ("3", 3, "stands on 2 updates, and 3"),
        ("2", None, "stands on 1 updates, and 2"),
        ("1", None, "stands on 0 updates"),
    ],
)
def test_too_few_updates_are_refused(champion: str, last: int | None, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        last_steps(STEPS, "m", champion, last)
