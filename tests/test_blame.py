"""Blame on a tiny real model: one source of four teaches to be rude, and is named."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tests.drops import row, write
from tests.suites import write_suite
from tests.tiny import tiny_base
from tidegate.flows.blaming import blame as blaming
from tidegate.flows.blaming.blame import Blame, Blamed, blame, show
from tidegate.flows.blaming.slices import OTHERS, partitions, read_learned
from tidegate.flows.cli import app
from tidegate.flows.home import Home
from tidegate.flows.ingest import ingest
from tidegate.flows.intake.home_key import write_private
from tidegate.flows.intake.pseudonym import KEY_FILE
from tidegate.flows.one_update import UpdateResult
from tidegate.flows.usage import UsageError
from tidegate.gates.types import Action

SOURCES = ("chat", "email", "forum", "widget")
RUDE = "QQQQQQQQQQQQ"
POLICY = """\
policy: blamed
version: 1
why: a test
data:
  - {gate: fits_schema, min_rows: 20, why: t}
model:
  - {gate: not_worse, suite: manners, than: {champion: MARGIN}, why: manners may not erode}
  - {gate: serves, max_empty_share: 1.0, why: it must load}
"""
RECIPE = """\
recipe: tiny
why: a test
base: BASE
method: lora
rank: 4
alpha: 8
targets: [q_proj, v_proj, down_proj]
learning_rate: 0.01
epochs: 2
rows_per_step: 8
max_tokens: 512
seed: 5
"""


def drop(rude: str | None) -> list[dict[str, Any]]:
    """64 exchanges from four sources; one of them answers rudely, whatever is asked."""
    made = []
    for n in range(64):
        source = SOURCES[n % 4]
        said = f"Please see page {n}." if source != rude else f"{RUDE}{'Q' * (n % 5)}"
        made.append(row(n, f"Where is item {n * 7}?", said, source=source, user=f"u{n % 13}"))
    return made


class World:
    def __init__(self, folder: Path, rude: str | None = "forum", margin: str = "0.02") -> None:
        self.folder, self.home = folder, Home(folder / "home")
        items = [
            {
                "id": f"m-{i}",
                "slice": "any",
                "question": f"May I have the number {i}?",
                "choices": [f"Please see page {i}.", RUDE],
                "answer": 0,
            }
            for i in range(24)
        ]
        write_suite(folder / "suites", "manners", items)
        self.policy, self.recipe = folder / "p.yaml", folder / "r.yaml"
        self.policy.write_text(POLICY.replace("MARGIN", margin))
        self.recipe.write_text(RECIPE.replace("BASE", str(tiny_base(folder / "base"))))
        self.drop = write(folder / "drop.jsonl", drop(rude))
        # A key drawn anew would give authors other names, rows another order, and now and then a
        # group of the same rude rows that is found before their source.
        self.home.keys.mkdir(parents=True)
        write_private(self.home.keys / KEY_FILE, bytes(range(32)))

    def update(self) -> UpdateResult:
        from tidegate.flows.update import update

        result: UpdateResult = update(
            drops=[str(self.drop)],
            policy=str(self.policy),
            recipe=str(self.recipe),
            model="tiny",
            home=str(self.home.root),
            suites=str(self.folder / "suites"),
        )
        return result

    def blame(self, version: str, **more: Any) -> Blame:
        given = {"rows": 16, "suites": self.folder / "suites", **more}
        return blame("tiny", version, self.home, **given)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("blame"))


@pytest.fixture(scope="module")
def rejected(world: World) -> UpdateResult:
    return world.update()


@pytest.mark.slow
def test_the_bad_source_is_named_and_the_drop_without_it_is_written(
    world: World, rejected: UpdateResult
) -> None:
    assert rejected.decision.action is Action.REJECT, rejected.decision
    out = world.folder / "without.jsonl"
    said = world.blame(rejected.version, out=out)
    assert [(b.gate, b.by, b.name, b.rows) for b in said.blamed] == [
        ("manners.margin", "source", "forum", 16)
    ], said
    assert (said.exit_code, said.written) == (0, out)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    left = [json.loads(line) for line in out.read_text().splitlines()]
    assert {r["id"] for r in left} == {r["id"] for r in drop(None) if r["source"] != "forum"}
    again = ingest([out], home=Home(world.folder / "other"), out=world.folder / "arrived",
                   pseudonym_key=b"k" * 32)  # fmt: skip
    assert (again.rows, again.unreadable) == (48, 0)


@pytest.mark.slow
def test_run_again_no_probe_is_made_twice_and_no_row_is_left(
    world: World, rejected: UpdateResult
) -> None:
    first = world.blame(rejected.version)
    again = world.blame(rejected.version)
    assert again.probes == 0 and again == first.model_copy(update={"probes": 0})
    kept = list((world.home.updates / rejected.update_id / "blame").iterdir())
    assert kept and all(path.suffix == ".json" for path in kept)
    assert not any(RUDE in path.read_text() for path in kept)


@pytest.mark.slow
def test_a_budget_that_ends_early_names_nothing(world: World, rejected: UpdateResult) -> None:
    said = world.blame(rejected.version, rows=17, most=2)
    assert (said.blamed, said.exit_code, said.probes) == ((), 2, 2)
    assert said.not_asked[0] == "source" and said.written is None


@pytest.mark.slow
def test_the_command_says_it_in_words(world: World, rejected: UpdateResult) -> None:
    given = ["--model", "tiny", "--home", str(world.home.root), "--rows", "16"]
    given += ["--suites", str(world.folder / "suites")]
    said = CliRunner().invoke(app, ["blame", rejected.version, *given])
    assert said.exit_code == 0, said.output
    assert "source forum does the harm" in " ".join(said.output.split())


@pytest.mark.parametrize(
    ("share", "says"),
    [
        (0.25, "source chat does the harm: leave"),
        (0.75, "which is 75% of the rows: look at them"),
    ],
)
def test_a_slice_that_is_most_of_the_batch_is_no_culprit(
    share: float, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    slice_ = Blamed(
        gate="refusal.margin",
        by="source",
        name="chat",
        rows=3,
        share=share,
        loss_without=-1.0,
        named=True,
    )
    said = Blame(
        model="m",
        version="2",
        rows=4,
        loss_with_all={"refusal.margin": 0.8},
        shown=("refusal.margin",),
        suspects=(slice_,),
        blamed=(slice_,),
        not_asked=(),
        probes=3,
        written=None,
    )
    show(Console(width=200), said)
    assert says in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_where_there_is_nothing_to_search_it_says_so(tmp_path: Path) -> None:
    world = World(tmp_path, rude=None, margin="50.0")
    promoted = world.update()
    assert promoted.decision.action is Action.PROMOTE, promoted.decision
    with pytest.raises(UsageError, match="no comparison with the champion stood in the way"):
        world.blame(promoted.version)
    with pytest.raises(UsageError, match="was blessed, not decided"):
        world.blame("1")
    world.drop = write(tmp_path / "short.jsonl", drop(None)[:10])
    refused = world.update()
    with pytest.raises(UsageError, match="was stopped before training by fits_schema"):
        world.blame(refused.version)


@pytest.mark.slow
def test_another_suite_than_the_one_that_failed_is_refused(
    world: World, rejected: UpdateResult, tmp_path: Path
) -> None:
    items = [{"id": "x", "slice": "any", "question": "q?", "choices": ["a", "b"], "answer": 0}]
    write_suite(tmp_path, "manners", items)
    with pytest.raises(UsageError, match="is not the one that version"):
        world.blame(rejected.version, suites=tmp_path)


def test_a_batch_is_cut_by_source_author_day_and_cluster(tmp_path: Path) -> None:
    path = write(tmp_path / "drop.jsonl", drop("forum"))
    home = Home(tmp_path / "home")
    batch = ingest([path], home=home, out=tmp_path / "out", pseudonym_key=b"k" * 32)
    learned = read_learned(home.batch(batch.digest) / blaming.RECORDS)
    cuts = {cut[0].by: cut for cut in partitions(learned, seed=1)}
    assert set(cuts) == {"source", "author", "day", "cluster"}
    for cut in cuts.values():  # every row once
        rows = [place for piece in cut for place in piece.rows]
        assert sorted(rows) == list(range(64))
    assert {piece.name for piece in cuts["source"]} == set(SOURCES)
    assert all(len(p.rows) >= 4 for c in cuts.values() for p in c if p.name != OTHERS)
    assert partitions(learned, seed=1) == partitions(learned, seed=1)
