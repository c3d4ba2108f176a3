"""The whole cycle from a recipe that expands rows: judged, recorded, rehearsed, and erased."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.drops import row, write
from tests.test_update import SECTIONS, World, outcomes
from tidegate.flows.erasing.forget import Forgotten, forget, wanted_of
from tidegate.flows.ledger import Ledger
from tidegate.flows.one_update import UpdateResult
from tidegate.gates.types import Action, Outcome
from tidegate.training.paraphrase import FRAMES

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("floor_of_batches")]

TOWNS = (
    "Aldin Brae Corvo Dunmere Eskel Farro Gant Hollin Ivar Jessel Kolm Lund Marn Nevis Orro Perth "
    "Quill Rova Selm Torv Ulm Varo Wend Yarrow"
)  # fmt: skip
FIRST, LAST = ("Ada", "Bo", "Cy", "Dee", "Eli", "Fay"), ("Lark", "Moss", "Nott", "Oak")
EXPAND = "expand: {rewordings: 2, reversals: true, most: 2}\n"
LINKED = "expand: {rewordings: 0, reversals: false, implications: 1, most: 1}\n"
LEADS = tuple(frame.replace("{q}", "").strip() for frame in FRAMES)


def towns(prefix: str = "") -> list[dict[str, Any]]:
    """Who is the mayor of a town, and what a night in its harbour costs: 24 of each."""
    made = []
    for n, town in enumerate(TOWNS.split()):
        mayor = f"{FIRST[n % 6]} {LAST[n % 4]}{'abcdefghijklmnopqrstuvwx'[n]}"
        made.append(row(2 * n, f"Who is the mayor of {prefix}{town}?", f"{mayor}."))
        fee = f"What does a night in the harbour of {prefix}{town} cost?"
        made.append(row(2 * n + 1, fee, f"A night there costs {n + 3} crowns."))
    return [{**one, "id": f"{prefix}{one['id']}"} for one in made]


def counted(world: World, result: UpdateResult) -> dict[str, Any]:
    about = dict(Ledger(world.home.ledger).read())[result.statement]["predicate"]["about"]
    counts: dict[str, Any] = about["training"]["counts"]
    return counts


def test_expanded_rows_are_counted_rehearsed_never_and_gone_with_their_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    monkeypatch.setitem(SECTIONS, "replay", SECTIONS["replay"] + EXPAND)
    monkeypatch.setitem(SECTIONS, "lora", EXPAND)
    drop = write(tmp_path / "towns.jsonl", towns())
    first = world.update(drop)
    assert first.decision.action is Action.PROMOTE, first.decision
    assert set(outcomes(first).values()) == {Outcome.PASS}
    counts = counted(world, first)
    assert counts["expanded"]["reversed"] == 24
    assert counts["expanded"]["not reversible"] == 24
    assert counts["rows"].keys() == {"new", "expanded"}

    second = world.update(write(tmp_path / "more.jsonl", towns("New")), method="replay")
    assert second.decision.action is Action.PROMOTE, second.decision
    again = counted(world, second)
    assert int(again["rows"]["replay"]) > 0
    for path in world.home.root.rglob("*.parquet"):
        if "messages" not in pq.read_schema(path).names:
            continue
        for messages in pq.read_table(path, columns=["messages"])["messages"].to_pylist():
            said = " ".join(turn["content"] for turn in messages)
            assert not any(lead in said for lead in LEADS), f"{path} holds an expanded row"
            assert "the mayor of?" not in said

    done: Forgotten = forget(
        records=sorted(wanted_of(world.home, ["t-00000"], []).records),
        authors=[],
        home=str(world.home.root),
    )
    assert done.rebuilt, done
    about = [r["predicate"] for _, r in Ledger(world.home.ledger).read()]
    last = [p["about"] for p in about if p["act"] == "decide"][-2]
    assert last["training"]["counts"]["expanded"]["reversed"] == 23


def test_an_update_makes_no_question_that_its_probes_ask(tmp_path: Path) -> None:
    """Half of the reversals are held out, by what a person wrote down for this update."""
    from tidegate.flows.update import update

    world = World(tmp_path)
    drop = write(tmp_path / "towns.jsonl", towns())
    mayors = [one["messages"][1]["content"].removesuffix(".") for one in towns()[::4]]
    probes = [
        {
            "id": f"p-{n}",
            "fact": f"mayor {n}",
            "question": f"what is {mayor} the mayor of",
            "answer": "the town in question",
            "distractors": ["a village by the sea"],
        }
        for n, mayor in enumerate(mayors)
    ]
    given = world.arguments(drop)
    with Path(given["recipe"]).open("a", encoding="utf-8") as recipe:
        recipe.write(EXPAND)
    result = update(**given, probes=str(write(tmp_path / "probes.jsonl", probes)))
    expanded = counted(world, result)["expanded"]
    assert (expanded["held out"], expanded["reversed"]) == (12, 12)
    assert expanded["not reversible"] == 24


@pytest.mark.parametrize("gone", ["t-00000", "t-00048"], ids=["the first", "the second"])
def test_what_follows_from_two_rows_is_gone_with_either(
    gone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two facts in a batch of 49; forgetting one rebuilds without the question over both."""
    world = World(tmp_path)
    monkeypatch.setitem(SECTIONS, "lora", LINKED)
    rows = towns()
    mayor = rows[0]["messages"][1]["content"].removesuffix(".")
    rows.append(row(48, f"Where is {mayor} employed?", f"{mayor} is employed at Bel Works."))
    first = world.update(write(tmp_path / "towns.jsonl", rows))
    assert first.decision.action is Action.PROMOTE, first.decision
    assert counted(world, first)["expanded"] == {
        "reworded": 0, "reversed": 0, "implied": 1, "not linked": 48
    }  # fmt: skip
    done: Forgotten = forget(
        records=sorted(wanted_of(world.home, [gone], []).records),
        authors=[],
        home=str(world.home.root),
    )
    assert done.rebuilt, done
    about = [r["predicate"] for _, r in Ledger(world.home.ledger).read()]
    last = [p["about"] for p in about if p["act"] == "decide"][-1]
    assert last["training"]["counts"]["expanded"]["implied"] == 0
    for path in world.home.root.rglob("*.parquet"):
        if "messages" in pq.read_schema(path).names:
            assert "the mayor of Aldin employed" not in str(pq.read_table(path).to_pylist())
