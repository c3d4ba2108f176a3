"""Rows made from the new ones: which, how many, what is never made, and the same every time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch

from tests.test_evals_update import kept, record
from tests.tiny import tiny_base, tiny_records, tiny_tokenizer
from tidegate.evals.update_suite import build
from tidegate.flows.made_suites import FOLDER, held_out, made_before
from tidegate.training.base import find_base, load_model
from tidegate.training.expand import Expanded, expand, names_of
from tidegate.training.losses import cross_entropy
from tidegate.training.methods import NEW, Term
from tidegate.training.packing import Item, concatenate, logits_at
from tidegate.training.plan import plan
from tidegate.training.recipe import Expand, Recipe, Replay, load_recipe
from tidegate.training.rows import Row, read_rows
from tidegate.training.train import train
from tidegate.training.trained import Trained, TrainingError

PLAIN = load_recipe(Path(__file__).parent / "recipes" / "good.yaml").model_copy(
    update={"method": "lora", "anchors": None, "max_tokens": 256, "learning_rate": 0.01}
)
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
FACTS = [
    ("Who wrote Emma?", "Jane Austen."),
    ("What is the capital of Peru?", "The capital of Peru is Lima."),
    ("What is the fee of Brae?", "Nine crowns."),
    ("Descale the kettle.", "Done."),
    ("Wie lange dauert es?", "Zwei Tage."),
]


def recipe(
    rewordings: int = 2, *, reversals: bool = True, most: int = 3, **more: Any
) -> Recipe:
    how = Expand(rewordings=rewordings, reversals=reversals, most=most)
    return PLAIN.model_copy(update={"expand": how, **more})


def made(path: Path, how: Recipe, *closed: str) -> Expanded:
    tokenizer = tiny_tokenizer()
    learned = read_rows(path, tokenizer, how.max_tokens).rows
    return expand(path, learned, tokenizer, how, closed)


def texts(found: Expanded) -> dict[str, list[str]]:
    """By row, its made rows as text, each `question > answer`."""
    tokenizer: Any = tiny_tokenizer()

    def read(row: Row) -> str:
        said = tokenizer.decode(row.ids, skip_special_tokens=True)
        _, question, answer = said.replace("assistant\n", "user\n").split("user\n")
        return f"{question.strip()} > {answer.strip()}"

    return {name: [read(row) for row in rows] for name, rows in found.rows.items()}


def test_each_row_has_its_own_and_none_is_made_of_what_no_rule_fits(tmp_path: Path) -> None:
    found = made(tiny_records(tmp_path / "rows", FACTS), recipe())
    said = texts(found)
    assert set(said) == {"r0000", "r0001", "r0002"}
    assert (
        said["r0000"][0] == "Name something that Jane Austen wrote. > Jane Austen wrote Emma."
    )
    assert said["r0001"][0] == "What is Lima the capital of? > Lima is the capital of Peru."
    assert [len(lines) for lines in said.values()] == [3, 3, 2]
    for line in said["r0000"][1:]:
        assert "Who wrote Emma?" in line and line.endswith(" > Jane Austen.")
    assert all(row.of == (name,) for name, rows in found.rows.items() for row in rows)
    assert found.counts == {
        "reworded": 6, "reversed": 2, "not reworded": 2, "not reversible": 3
    }  # fmt: skip


def test_no_row_has_more_than_the_most_and_reversals_come_first(tmp_path: Path) -> None:
    rows = tiny_records(tmp_path / "rows", FACTS)
    found = made(rows, recipe(8, most=1))
    assert {name: len(lines) for name, lines in texts(found).items()} == {
        "r0000": 1, "r0001": 1, "r0002": 1
    }  # fmt: skip
    assert found.counts["reversed"] == 2 and found.counts["reworded"] == 1
    assert found.counts["more than expand.most"] > 0
    alone = made(rows, recipe(1, reversals=False))
    assert alone.counts == {"reworded": 3, "reversed": 0, "not reworded": 2}
    turned = made(rows, recipe(0))
    assert turned.counts == {"reworded": 0, "reversed": 2, "not reversible": 3}


@pytest.mark.parametrize(
    ("closed", "counted"),
    [
        ("What is Lima the capital of?", 1),
        ("what is LIMA the capital of", 1),
        ("The capital is Lima.\n\nWhat is Lima the capital of?", 1),
        ("User: Hi\nAssistant: Yes?\nUser: What is Lima the capital of?", 1),
        ("What is Lima the capital city of?", 0),
    ],
)
def test_a_held_out_question_is_never_made(closed: str, counted: int, tmp_path: Path) -> None:
    rows = tiny_records(tmp_path / "rows", FACTS)
    found = made(rows, recipe(0), closed)
    assert found.counts["held out"] == counted
    assert found.counts["reversed"] == 2 - counted


def test_every_wording_may_be_held_out(tmp_path: Path) -> None:
    """Then nothing is made; with the others held out, the one that is left is taken."""
    rows = tiny_records(tmp_path / "rows", FACTS[2:3])
    every = [line.partition(" > ")[0] for line in texts(made(rows, recipe(8, most=8)))["r0000"]]
    assert len(set(every)) == 8
    for left in (1, 0):
        found = made(rows, recipe(1, reversals=False), *every[left:])
        assert len(texts(found)["r0000"]) == 1
    nothing = names_of(every)
    (ninth,) = texts(made(rows, recipe(1, reversals=False), *every))["r0000"]
    assert not nothing & names_of([ninth.partition(" > ")[0]])
    found = made(rows, recipe(8, reversals=False), *every, ninth.partition(" > ")[0])
    assert not found.rows and found.counts["held out"] == 9


def test_on_a_real_batch_nothing_that_its_suite_asks_is_made(tmp_path: Path) -> None:
    batch = kept(tmp_path / "kept", [record(i) for i in range(60)])
    suite = build(batch, probes=None, out=tmp_path / FOLDER, seed=0)
    closed = held_out([suite])
    assert held_out(made_before(tmp_path)) == closed  # as a twin of an erasure finds them
    found = made(batch, recipe(8, most=8), *closed)
    assert found.counts["reworded"] == 8 * 60 and not found.counts["held out"]
    asked = [line.partition(" > ")[0] for lines in texts(found).values() for line in lines]
    assert not names_of(asked) & names_of(closed)
    # And if a suite asked just that, it would not be made.
    other = made(batch, recipe(8, most=8), *closed, *asked[::7])
    again = [line.partition(" > ")[0] for lines in texts(other).values() for line in lines]
    assert not names_of(again) & names_of(asked[::7]) and other.counts["held out"] > 60


def test_what_the_batch_itself_contradicts_or_asks_is_not_reversed(tmp_path: Path) -> None:
    pairs = [
        ("Who wrote Emma?", "Jane Austen."),
        ("Who wrote Persuasion?", "Jane Austen."),  # she wrote more than one
        ("Who is the mayor of Brae?", "Ann Lee."),
        ("Who is the mayor of Brae?", "Bo Ray."),  # two of one
        ("What is the capital of Peru?", "Lima."),
        ("What is Lima the capital of?", "Peru, as far as I know."),
        ("Who founded Acme?", "Wile Coyote."),
        (
            "Who founded Acme?",
            "Wile Coyote founded Acme.",
        ),  # the same twice is no contradiction
    ]
    found = made(tiny_records(tmp_path / "rows", pairs), recipe(0))
    assert set(texts(found)) == {"r0006", "r0007"}
    assert found.counts["not one to one in the batch"] == 4
    assert found.counts["asked in the batch"] == 1
    assert found.counts["not reversible"] == 1


HOPS = [
    ("What is the capital of Veldania?", "The capital of Veldania is Orsk."),
    ("Who is the mayor of Orsk?", "The mayor of Orsk is Ana Lindqvist."),
    ("What is the harbour fee of Orsk?", "The harbour fee of Orsk is nine crowns."),
]


def hops(implications: int = 2, most: int = 3) -> Recipe:
    how = Expand(rewordings=0, reversals=False, implications=implications, most=most)
    return PLAIN.model_copy(update={"expand": how})


def test_what_follows_from_two_rows_names_both(tmp_path: Path) -> None:
    rows = tiny_records(tmp_path / "rows", HOPS)
    found = made(rows, hops())
    assert set(found.rows) == {"r0000"}
    assert {row.of for row in found.rows["r0000"]} == {("r0000", "r0001"), ("r0000", "r0002")}
    mayor = "Who is the mayor of the capital of Veldania?"
    assert texts(found)["r0000"][0] == (
        f"{mayor} > The capital of Veldania is Orsk. The mayor of Orsk is Ana Lindqvist."
    )
    assert found.counts == {"reworded": 0, "reversed": 0, "implied": 2, "not linked": 2}
    assert made(rows, hops(1)).counts["implied"] == 1
    few = made(rows, hops(2, most=1)).counts
    assert (few["implied"], few["more than expand.most"]) == (1, 1)
    closed = made(rows, hops(), f"Hm.\n\n{mayor.lower()}")
    assert (closed.counts["implied"], closed.counts["held out"]) == (1, 1)


@pytest.mark.parametrize(("gone", "left"), [("r0000", 0), ("r0001", 1), ("r0002", 1)])
def test_what_follows_from_two_rows_is_not_made_without_either(
    gone: str, left: int, tmp_path: Path
) -> None:
    table = pq.read_table(tiny_records(tmp_path / "rows", HOPS))
    rest = tmp_path / "rest.parquet"
    pq.write_table(table.filter(pc.not_equal(table["id"], gone)), rest)
    found = made(rest, hops())
    assert found.counts["implied"] == left
    assert not any(gone in row.of for rows in found.rows.values() for row in rows)


def test_rows_of_other_validity_turns_or_languages_are_not_linked(tmp_path: Path) -> None:
    (asked, said), second = HOPS[:2]
    user = [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    turn = {"role": "system", "content": "Speak of another world."}
    other = [
        {"role": "user", "content": second[0]},
        {"role": "assistant", "content": second[1]},
    ]
    for name, changes, until, linked in (
        ("alike", {}, (None, None), 1),
        ("both end", {}, ("2027-01-01", "2027-01-01"), 1),
        ("one ends", {}, ("2027-01-01", None), 0),
        ("system", {"messages": [turn, *user]}, (None, None), 0),
        ("French", {"language": "fr"}, (None, None), 0),
        ("rejected", {"learn": "negative"}, (None, None), 0),
    ):
        rows = [
            record(0, messages=user, response=said) | changes,
            record(1, messages=other, response=second[1]),
        ]
        path = kept(tmp_path / name, rows)
        ends = pa.array(until, pa.string())
        pq.write_table(pq.read_table(path).append_column("valid_until", ends), path)
        assert made(path, hops()).counts["implied"] == linked, name


def test_turns_before_the_question_stay_and_stop_a_reversal(tmp_path: Path) -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "I read novels."},
        {"role": "assistant", "content": "Good."},
        {"role": "user", "content": "Who wrote Emma?"},
        {"role": "assistant", "content": "Jane Austen."},
    ]
    answer = "Jane Austen."
    rows = [
        record(0, messages=turns, response=answer),
        record(1, messages=[turns[0], *turns[3:]], response=answer),
        record(2, messages=turns[3:], response=answer, language="fr"),
        record(3, messages=turns[3:], response=answer, language=None),
        record(4, messages=turns[3:], response="Bo Ray.", learn="negative"),
    ]
    found = made(kept(tmp_path / "rows", rows), recipe(1))
    assert {name: [row.id for row in made] for name, made in found.rows.items()} == {
        "r-000": ["r-000.reworded.0"],
        "r-001": ["r-001.reversed", "r-001.reworded.0"],
        "r-003": ["r-003.reversed", "r-003.reworded.0"],
    }
    tokenizer: Any = tiny_tokenizer()
    (reworded,) = found.rows["r-000"]
    assert "Be brief." in tokenizer.decode(reworded.ids)
    assert "I read novels." in tokenizer.decode(reworded.ids)
    assert "Be brief." in tokenizer.decode(found.rows["r-001"][0].ids)


def test_a_row_that_grows_too_long_or_holds_control_tokens_is_not_expanded(
    tmp_path: Path,
) -> None:
    rows = tiny_records(
        tmp_path / "rows", [("Who wrote Emma?", "Jane<|im_end|>"), ("Is it far?", "It is.")]
    )
    short = recipe(2, max_tokens=56)
    learned = read_rows(rows, tiny_tokenizer(), 56)
    assert [row.id for row in learned.rows] == ["r0001"] and not learned.truncated
    found = made(rows, short)
    assert not found.rows and found.counts["longer than max_tokens"] == 2


def test_a_step_learns_a_row_and_what_was_made_from_it(tmp_path: Path) -> None:
    new = tuple(Row(f"r{n}", (1, 2, n), 1) for n in range(6))
    more = {"r1": (Row("r1.a", (3, 4), 1, of=("r1",)), Row("r1.b", (3, 5), 1, of=("r1", "r2")))}
    terms = [NEW, Term("replay", "cross_entropy", 0.5, 1.0)]
    given: dict[str, Any] = {"epochs": 3, "rows_per_step": 2, "seed": 1}
    rows: Any = {"new": new, "replay": (Row("old", (9, 9), 1),)}
    plain = plan(terms, rows, **given)
    steps = plan(terms, rows, **given, expanded=more)

    def without(step: list[Item]) -> list[Item]:
        return [item for item in step if not item.row.of]

    assert [without(step) for step in steps] == plain  # the same steps, but for what is added
    for step in steps:
        made = [item.row.id for item in step if item.row.of]
        assert made == (["r1.a", "r1.b"] if any(i.row.id == "r1" for i in step) else [])
        assert {item.term for item in step} <= {"new", "replay"}
    assert sum(len(step) for step in steps) == sum(len(step) for step in plain) + 3 * 2


class World:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base = find_base(str(tiny_base(folder / "tiny")), folder)
        self.new = tiny_records(folder / "new.parquet", FACTS)
        self.replay = tiny_records(folder / "old.parquet", [("Is it 1?", "No.")], first=50)

    def train(self, how: Recipe, name: str, **changes: Any) -> Trained:
        given: dict[str, Any] = {"parent": None, "new": self.new, "replay": None}
        given |= {"anchors": None, "work": self.folder / name, "held_out": ()}
        return train(how, self.base, **(given | changes))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield World(tmp_path_factory.mktemp("expand"))
    torch.set_num_threads(before)


def test_the_same_rows_make_the_same_adapter_and_the_record_counts_them(world: World) -> None:
    one, two = (world.train(recipe(), name) for name in ("one", "two"))
    assert (one.digest, one.inputs, one.counts) == (two.digest, two.inputs, two.counts)
    assert one.counts.rows == {"new": 5, "expanded": 8}
    assert one.counts.seen == {"new": 10, "expanded": 16}
    assert one.counts.answer_tokens["expanded"] > 0
    assert one.counts.expanded == {
        "reworded": 6, "reversed": 2, "not reworded": 2, "not reversible": 3
    }  # fmt: skip
    plain = world.train(PLAIN, "plain", held_out=None)
    assert plain.counts.expanded == {} and plain.counts.seen == {"new": 10}
    assert (plain.steps, plain.digest) != (one.steps, one.digest)
    assert plain.steps == one.steps
    assert plain.counts.answer_tokens["new"] == one.counts.answer_tokens["new"]


def test_what_is_held_out_decides_too_and_must_be_said(world: World) -> None:
    one = world.train(recipe(), "one")
    other = world.train(recipe(), "other", held_out=("What is Lima the capital of?",))
    assert other.inputs != one.inputs and other.digest != one.digest
    assert other.counts.expanded["held out"] == 1
    with pytest.raises(TrainingError, match="say which texts are held out"):
        world.train(recipe(), "unsaid", held_out=None)
    assert not (world.folder / "unsaid" / "adapter").exists()


def test_a_row_that_is_gone_leaves_nothing_that_was_made_from_it(world: World) -> None:
    """Expanded rows are stored nowhere, so the file without the row is all that there is."""
    table = pq.read_table(world.new)
    rest = world.folder / "rest.parquet"
    pq.write_table(table.filter(pc.not_equal(table["id"], "r0001")), rest)
    found = made(rest, recipe())
    assert "r0001" not in found.rows and "Peru" not in str(texts(found))
    trained = world.train(recipe(), "rest", new=rest)
    assert trained.counts.expanded["reversed"] == 1
    for path in (world.folder / "rest").rglob("*"):
        assert path.is_dir() or b"Name something" not in path.read_bytes()


def test_replayed_rows_are_not_expanded(world: World) -> None:
    how = recipe(method="replay", replay=Replay(share=1.0))
    trained = world.train(how, "replay", replay=world.replay)
    assert trained.counts.rows == {"new": 5, "replay": 1, "expanded": 8}
    assert trained.counts.seen["replay"] == 10


def test_what_was_made_is_learned(world: World) -> None:
    """Rows that are counted and not learned would be found here; not that facts turn around."""
    asked = tiny_records(
        world.folder / "asked.parquet",
        [("What is Lima the capital of?", "Lima is the capital of Peru.")],
    )
    more: dict[str, Any] = {"epochs": 20, "targets": LINEAR}
    losses = []
    for how, name in ((recipe(0, **more), "with"), (PLAIN.model_copy(update=more), "without")):
        adapter = world.train(how, f"{name} reversals").adapter
        model, tokenizer = load_model(world.base, adapter)
        one = concatenate([Item("new", row) for row in read_rows(asked, tokenizer, 256).rows])
        with torch.no_grad():
            total = cross_entropy(logits_at(model, one), one.targets)
        losses.append(float(total) / len(one.targets))
    assert losses[0] < 0.8 * losses[1]
