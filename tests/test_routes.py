"""Where a record goes by the rules of a recipe: on records that were really checked."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.checking import arrived, chat, checked, lines, plain, policy
from tidegate.flows.check import check
from tidegate.flows.context.route import Learnable, route
from tidegate.flows.context.store import entries
from tidegate.flows.home import Home
from tidegate.flows.ingest import ingest
from tidegate.flows.intake.pseudonym import pseudonym
from tidegate.flows.routing.modules import check_names, files
from tidegate.flows.routing.rules import Rules
from tidegate.flows.usage import UsageError
from tidegate.gates.digest import digest_bytes
from tidegate.training.recipe import load_recipe
from tidegate.training.routes import CONDITIONS, Destination, Route

GOOD = (Path(__file__).parent / "recipes" / "good.yaml").read_text()
BATCH, KEY = digest_bytes(b"a batch"), b"k" * 32
DATA = """
  - {gate: fits_schema, quarantine: true, why: t}
  - {gate: no_personal_data, mask: true, why: t}
"""
SHARED = "Turn the small brass valve twice to the left and wait until the lamp is green."
DOWN = {"feedback": {"rating": "down"}}
ROWS = [
    chat(901, "Is the office open?", "The office is closed today, so come on Monday."),
    chat(902, "What is the fare?", "A single is four crowns.", valid_until="2030-01-01T00:00:00Z"),
    chat(903, "Who repairs it?", "Write to jane.miller@example.org about the repair."),
    chat(904, "How do I vent it?", SHARED),
    chat(905, "How is it vented?", SHARED),
    chat(906, "Why was I billed twice?", "The second line is the deposit.", source="billing"),
    chat(907, "Is the pool open?", "The pool is open today from nine.", source="reviewed"),
    chat(908, "Is the gym open?", "Currently it is anybody's guess.", **DOWN),
    chat(909, "Is billing open?", "Currently nobody answers there.", source="billing", **DOWN),
    chat(910, "Whom do I pay?", "Pay to kurt.weill@example.org please.", source="billing"),
]  # fmt: skip


class Seen:
    """Ten records and twenty plain ones, checked once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        result, said, _ = checked(folder, [*ROWS, *plain(20)], DATA)
        assert (result.masked, result.quarantined) == (2, 0), said
        self.home, self.kept, self.check = Home(folder / "home"), result.kept, folder / "out"

    def route(self, text: str, **how: Any) -> Learnable:
        rules = Rules.of("tiny", parsed(self.folder, text), self.check)
        given = {"time": False, "later": {}} | how
        out = self.folder / "learnable.parquet"
        return route(self.home, BATCH, self.kept, out, rules=rules, **given)

    def where(self) -> dict[str, str]:
        """By id without its zeros: to and rule, of what routes.jsonl names."""
        said = lines(self.folder / "routes.jsonl")
        assert all(set(line) == {"id", "to", "rule", "why"} for line in said)
        return {line["id"][-3:]: f"{line['to']} {line['rule']}" for line in said}


def parsed(folder: Path, text: str) -> tuple[Route, ...]:
    path = folder / "recipe.yaml"
    path.write_text(
        GOOD + "routes:\n" + "".join(f"  - {{{one}}}\n" for one in text.split("; "))
    )
    routes = load_recipe(path).routes
    assert routes is not None
    return routes


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return Seen(tmp_path_factory.mktemp("seen"))


@pytest.fixture(autouse=True)
def emptied(seen: Seen) -> Iterator[None]:
    yield
    seen.route("to: weights, when: dated, why: t")  # of a batch, what was put before goes


VOLATILE = "to: context, when: volatile, why: t"
DATED = "to: context, when: dated, why: t"
MASKED = "to: context, when: masked, why: t"
BILLING = "to: module, module: billing, when: source, sources: [billing], why: t"
REVIEWED = "to: weights, when: source, sources: [reviewed], why: t"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        # A thumbs-down is no answer to look up, so rules to the context store pass it over.
        (VOLATILE, {"901": "context 1", "907": "context 1"}),
        (DATED, {"902": "context 1"}),
        (MASKED, {"903": "context 1", "910": "context 1"}),
        (BILLING, {n: "module 1" for n in ("906", "909", "910")}),
        (f"{REVIEWED}; {VOLATILE}", {"907": "weights 1", "901": "context 2"}),
        (f"{VOLATILE}; {REVIEWED}", {"901": "context 1", "907": "context 1"}),
        (
            f"{MASKED}; {BILLING}",
            {"903": "context 1", "910": "context 1", "906": "module 2", "909": "module 2"},
        ),
        (
            f"{BILLING}; {MASKED}",
            {"906": "module 1", "909": "module 1", "910": "module 1", "903": "context 2"},
        ),
        (
            "to: module, module: now, when: volatile, why: t",
            {n: "module 1" for n in ("901", "907", "908", "909")},
        ),
        ("to: context, when: source, sources: [nowhere], why: t", {}),
    ],
)
def test_the_first_rule_that_names_a_record_decides(
    seen: Seen, text: str, where: dict[str, str]
) -> None:
    left = seen.route(text)
    assert seen.where() == where
    away = {name for name, to in where.items() if not to.startswith("weights")}
    learned = {name[-3:] for name in pq.read_table(left.kept)["id"].to_pylist()}
    assert learned == {name["id"][-3:] for name in [*ROWS, *plain(20)]} - away
    assert left.routed.learned == len(learned)
    looked_up = {entry.id[-3:]: entry.reason for _, entry in entries(seen.home)}
    assert looked_up == {n: "t" for n, to in where.items() if to.startswith("context")}
    waiting = {line["id"][-3:] for path in files(seen.home) for line in lines(path)}
    assert waiting == {n for n, to in where.items() if to.startswith("module")}


def test_one_off_counts_authors_of_nearly_the_same_answer(seen: Seen) -> None:
    two = seen.route("to: context, when: one_off, authors: 2, why: t")
    assert not {"904", "905"} & set(seen.where()), "two authors were given this answer"
    assert two.routed.one_off == 26, "all others, but the two thumbs down"
    three = seen.route("to: context, when: one_off, authors: 3, why: t")
    assert three.routed.one_off == 28


def test_what_the_check_did_not_count_is_corroborated_by_nobody(seen: Seen) -> None:
    routes = parsed(seen.folder, "to: context, when: one_off, authors: 2, why: t")
    rows = pq.read_table(seen.kept).filter(pa.array([True] + [False] * 29))
    for authors, named in (({}, 1), ({rows["id"][0].as_py(): 2.0}, 0)):
        assert Rules("m", routes, frozenset(), authors).place(rows).tolist() == [named]


def test_each_rule_is_measured_by_its_place(seen: Seen) -> None:
    left = seen.route(f"{REVIEWED}; {VOLATILE}; {BILLING}; to: context, when: dated, why: t")
    measured = {m.name: (m.value, m.n) for m in left.measurements()}
    assert measured == {
        "context.share@candidate": (2 / 30, 30),
        **{
            f"routes.{name}.{of}@candidate": (count if of == "records" else count / 30, 30)
            for name, count in (
                ("1.weights", 1), ("2.context", 1), ("3.module", 3), ("4.context", 1)
            )
            for of in ("records", "share")
        },
    }  # fmt: skip


def test_what_a_policy_routes_is_not_for_the_recipe_to_keep(seen: Seen) -> None:
    left = seen.route(REVIEWED, time=True)
    assert {e.id[-3:] for _, e in entries(seen.home)} == {"901", "902", "907"}
    assert {e.reason for _, e in entries(seen.home)} == {None} and not seen.where()
    assert (left.routed.volatile, left.routed.dated) == (2, 1)


def test_the_same_again_and_nothing_is_left_of_other_rules(seen: Seen) -> None:
    def written() -> dict[str, bytes]:
        stores = [*files(seen.home), *seen.home.root.glob("context/*.jsonl")]
        return {
            str(path): path.read_bytes()
            for path in [
                *stores,
                seen.folder / "routes.jsonl",
                seen.folder / "learnable.parquet",
            ]
        }

    both = f"{BILLING}; {VOLATILE}"
    first, before = seen.route(both), written()
    assert len(before) == 4
    assert (seen.route(both), written()) == (first, before)
    seen.route(VOLATILE)
    assert not files(seen.home), "what is learned now waits for no other line"


def test_a_drop_of_a_module_is_ingested_as_what_it_was(seen: Seen, tmp_path: Path) -> None:
    (drop,) = seen.route(BILLING).drops
    assert (drop.model, drop.records) == ("tiny-billing", 3)
    assert drop.command == f"tidegate update {drop.path} --model tiny-billing"
    assert drop.path == seen.home.root / "modules/tiny/billing" / f"{BATCH[7:]}.jsonl"
    assert drop.path.stat().st_mode & 0o777 == 0o600
    batch = ingest([drop.path], home=seen.home, out=tmp_path, pseudonym_key=KEY)
    assert (batch.rows, batch.sources, batch.unreadable) == (3, {"billing": 3}, 0)
    taken = pq.read_table(seen.home.batch(batch.digest) / "records.parquet")
    kept = pq.read_table(seen.kept)
    assert taken.equals(kept.filter(pa.compute.is_in(kept["id"], taken["id"]))), "every column"
    assert "kurt.weill" not in drop.path.read_text(), "as the check masked it"
    # Elsewhere the same file is anybody's: its authors get pseudonyms.
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(drop.path.read_bytes())
    other = ingest([copy], home=seen.home, out=tmp_path, pseudonym_key=KEY)
    users = pq.read_table(seen.home.batch(other.digest) / "records.parquet")["user"]
    assert users.to_pylist() == [pseudonym(KEY, user) for user in taken["user"].to_pylist()]


def test_a_name_in_the_folder_of_drops_is_no_pseudonym(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    path = home.root / "modules/tiny/billing/by-hand.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(chat(1, "Who?", "Me.", user="ada@example.org")) + "\n")
    batch = ingest([path], home=home, out=tmp_path, pseudonym_key=KEY)
    (user,) = pq.read_table(home.batch(batch.digest) / "records.parquet")["user"].to_pylist()
    assert user == pseudonym(KEY, "ada@example.org")


def test_a_signature_over_what_was_masked_is_left_out(tmp_path: Path) -> None:
    signed = {"signature": "hmac-sha256:abc:def", "source": "billing"}
    rows = [
        chat(1, "Whom do I pay?", "Pay to kurt.weill@example.org please.", **signed),
        chat(2, "When do I pay?", "At the end of the month.", **signed),
    ]
    home, out, batch = arrived(tmp_path, rows)
    check(batch, policy(tmp_path, DATA), home=home, arrived=out, out=out)
    rules = Rules.of("m", parsed(tmp_path, BILLING), out)
    left = tmp_path / "l.parquet"
    made = route(home, BATCH, out / "kept.parquet", left, time=False, later={}, rules=rules)
    said = {line["id"]: line.get("signature") for line in lines(made.drops[0].path)}
    assert said == {"r0001": None, "r0002": signed["signature"]}


def test_evidence_that_is_gone_is_no_evidence(seen: Seen, tmp_path: Path) -> None:
    routes = parsed(tmp_path, "to: context, when: one_off, authors: 2, why: t")
    with pytest.raises(UsageError, match="records.jsonl: is gone or damaged"):
        Rules.of("m", routes, tmp_path)
    (tmp_path / "records.jsonl").write_text('{"id": "r1"}\n')
    with pytest.raises(UsageError, match="records.jsonl: is gone or damaged"):
        Rules.of("m", routes, tmp_path)
    (tmp_path / "records.jsonl").write_text("")
    with pytest.raises(UsageError, match="signals.parquet: is gone or damaged"):
        Rules.of("m", routes, tmp_path)


def test_a_module_whose_line_could_not_be_named_stops_before_any_work(tmp_path: Path) -> None:
    parsed(tmp_path, BILLING)
    recipe = load_recipe(tmp_path / "recipe.yaml")
    check_names("m" * 92, recipe)
    with pytest.raises(UsageError, match="more than 100 characters"):
        check_names("m" * 93, recipe)


def test_the_rules_that_the_page_shows_are_a_recipe_s(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "methods.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```yaml\n(routes:.*?)^```", page, re.MULTILINE | re.DOTALL)
    path = tmp_path / "recipe.yaml"
    path.write_text(GOOD + shown)
    routes = load_recipe(path).routes
    assert routes is not None and {rule.when for rule in routes} == set(CONDITIONS)
    assert {rule.to for rule in routes} == set(get_args(Destination))
