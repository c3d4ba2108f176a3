"""`tidegate blame`: which slice of its batch made a version fail, and the drop without it.

    the version's statement → gates that failed → slices → probes → the slice → the drop without

Only gates that compare a suite with the champion can be asked again by a probe. What a data
gate refused is in the quarantine, by record and gate, and needs no search.
"""

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
from pydantic import Field
from rich.console import Console
from rich.markup import escape

from tidegate.evals.suite import Suite, find_suites
from tidegate.flows.blaming.probes import Asked, Prober
from tidegate.flows.blaming.search import HALF, Found, Suspect, search
from tidegate.flows.blaming.slices import partitions, read_learned
from tidegate.flows.home import Home
from tidegate.flows.intake.batches import RECORDS
from tidegate.flows.learned import learned_rows
from tidegate.flows.locks import one_at_a_time
from tidegate.flows.looking_back.history import Lost, Past, entry_of, read_past, read_stored
from tidegate.flows.registry import Registry
from tidegate.flows.reviewing.wording import clean
from tidegate.flows.show import statement_of
from tidegate.flows.usage import UsageError
from tidegate.gates.audit import BrokenLedger
from tidegate.gates.checks.not_worse import Margin
from tidegate.gates.types import Action, Measurement, Noun, Report, ignore_progress
from tidegate.training.base import find_base
from tidegate.training.recipe import Recipe

AT_A_TIME = 256  # records held while the drop is written


class Blamed(Noun):
    """A slice, and what a gate's suite lost without it, in margins of that gate."""

    gate: str = Field(description="suite and metric that were searched for")
    by: str
    name: str
    rows: int
    share: float = Field(description="of the rows that were learned")
    loss_without: float
    named: bool = Field(description="that loss went with the slice, beyond chance")


class Blame(Noun):
    """Which slices of a version's batch did the harm, as far as probes can say."""

    model: str
    version: str
    rows: int
    loss_with_all: dict[str, float] = Field(
        description="of a probe over all rows, in margins, by the suite of each failed gate"
    )
    shown: tuple[str, ...] = Field(
        description="whose loss is beyond chance; nothing was searched for the others"
    )
    suspects: tuple[Blamed, ...]
    blamed: tuple[Blamed, ...] = Field(description="the smallest named slice of each suite")
    not_asked: tuple[str, ...] = Field(
        description="ways to cut that the budget had no room for"
    )
    probes: int
    written: Path | None = Field(description="the drop without what is blamed")

    @property
    def exit_code(self) -> int:
        """0 if a slice is named, 2 if the search came to nothing."""
        return 0 if self.blamed else 2


def blame(
    model: str,
    version: str,
    home: Home,
    *,
    out: Path | None = None,
    rows: int = 64,
    most: int = 24,
    suites: Path | None = None,
    tracking_uri: str | None = None,
    progress: Report = ignore_progress,
) -> Blame:
    """Find the slices of a version's batch that made its gates fail.

    out: where the drop without them is written, as JSON Lines (mode 0600: it holds text
    of users). rows: what one probe learns. most: how many probes may be made. suites: a folder
    of further suites that the policy names.

    Run again, it goes on where it was. Raises UsageError where there is nothing to search (the
    version was promoted, or failed at its data), RegistryError, BrokenLedger and BaseError.
    """
    digest, record = statement_of(model, version, home, tracking_uri)
    if record["predicate"]["act"] != "decide":
        raise UsageError(f"version {version} of {model!r} was blessed, not decided: no batch")
    past = read_past(home, entry_of(digest, record))
    if isinstance(past, Lost):
        raise BrokenLedger(past.why)
    stored = read_stored(home, past.entry, "recipe", "recipe")
    recipe = Recipe.model_validate_json(json.dumps(stored))
    if recipe.rank is None:
        raise UsageError(
            f"version {version} of {model!r} has a cartridge, and a probe is a LoRA of the "
            "update's own rank: there is nothing to search with"
        )
    asked = _failed(past, model)
    folder = home.updates / past.entry.update_id
    kept = learned_rows(folder)
    if not kept.exists():
        raise UsageError(f"{kept}: the rows that version {version} learned are gone")
    parent = str(record["predicate"]["about"]["parent"])
    learned = read_learned(kept)
    with one_at_a_time(home, model):
        base = find_base(recipe.base, home.cache, progress)
        champion = Registry.open(home, tracking_uri).load(model, parent)
        prober = Prober(
            base=base,
            parent=champion.adapter,
            parent_digest=champion.candidate.digest,
            recipe=recipe,
            learned=learned,
            asked=asked,
            suites=_suites(asked, past, suites),
            chunk=past.policy.statistics.sequential.chunk,
            cache=home.cache,
            folder=folder / "blame",
            rows=rows,
            most=most,
            progress=progress,
        )
        everything = range(learned.num_rows)
        found = search(everything, partitions(learned, recipe.seed), prober)
    ids = learned["id"].to_pylist()
    written = None
    if found.blamed and out is not None:
        without = {ids[place] for suspect in found.blamed for place in suspect.slice.rows}
        write_without(home.batch(past.batch.digest) / RECORDS, without, out)
        written = out
    return _said(model, past, found, learned.num_rows, prober.made, written)


def _failed(past: Past, model: str) -> tuple[Asked, ...]:
    """The comparisons with the champion that did not pass."""
    about = f"version {past.entry.version} of {model!r}"
    stood = {r.gate for r in past.entry.rulings if r.action is not Action.PROMOTE}
    if past.evidence_model is None:
        gates = ", ".join(sorted(stood))
        raise UsageError(
            f"{about} was stopped before training by {gates}; `tidegate quarantine list` and "
            "the report name the records, so there is nothing to search for"
        )
    found: dict[str, Asked] = {}
    for use in past.policy.model:
        if use.title in stood and isinstance(use.params, Margin):
            margin = use.params.than.champion or use.params.than.anchor
            assert margin is not None  # Margins has one at least
            one = Asked(suite=use.params.suite, metric=use.params.metric, margin=margin)
            found[one.name] = one
    if not found:
        held = f" ({', '.join(sorted(stood))} did)" if stood else ""
        raise UsageError(
            f"no comparison with the champion stood in the way of {about}{held}; only what a "
            "suite lost can be traced to rows"
        )
    return tuple(found.values())


def _suites(asked: Collection[Asked], past: Past, folder: Path | None) -> tuple[Suite, ...]:
    names = list(dict.fromkeys(one.suite for one in asked))
    found = find_suites(names, folders=[folder] if folder else [])
    assert past.evidence_model is not None
    measured = {m.name: m for m in past.evidence_model.measurements}
    for suite in found:
        for one in asked:
            then = measured.get(f"{one.name}@candidate")
            if one.suite == suite.name and not _is_of(then, suite):
                raise UsageError(
                    f"the suite {suite.name} is not the one that version {past.entry.version} "
                    "was measured with; give its folder with --suites"
                )
    return tuple(found)


def _is_of(measured: Measurement | None, suite: Suite) -> bool:
    if measured is None or measured.settings is None:
        return False
    return measured.settings["suite"] == f"{suite.name} {suite.digest}"


def write_without(records: Path, left_out: Collection[str], out: Path) -> int:
    """Write a batch's records, but for those left out, as a drop; returns how many.

    Authors are the pseudonyms of the batch: ingested again they get pseudonyms anew, so caps
    over a lifetime begin anew for them. Whoever has the original drop filters that instead.
    """
    draft = out.with_name(f".{out.name}.draft")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    count = 0
    with draft.open("wb") as file:
        for row in _rows(records):
            if row["id"] not in left_out:
                file.write(orjson.dumps(_as_record(row)) + b"\n")
                count += 1
    draft.replace(out)
    return count


def _rows(records: Path) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(records) as file:
        for batch in file.iter_batches(batch_size=AT_A_TIME):
            yield from batch.to_pylist()


def _as_record(row: dict[str, Any]) -> dict[str, Any]:
    given = ("rating", "correction", "comment")
    feedback = {name: row[name] for name in given if row[name] is not None}
    optional = ("model", "language", "valid_from", "valid_until", "signature")
    return {
        "id": row["id"],
        "time": row["time"],
        "source": row["source"],
        "user": row["user"],
        "messages": row["messages"],
        "consent": True,  # records without it never become part of a batch
        "tags": json.loads(row["tags"]),
        **{name: row[name] for name in optional if row.get(name) is not None},
        **({"feedback": feedback} if feedback else {}),
    }


def _said(
    model: str,
    past: Past,
    found: Found,
    rows: int,
    probes: int,
    written: Path | None,
) -> Blame:
    def as_noun(suspect: Suspect) -> Blamed:
        size = len(suspect.slice.rows)
        return Blamed(
            gate=suspect.suite,
            by=suspect.slice.by,
            name=suspect.slice.name,
            rows=size,
            share=size / rows,
            loss_without=suspect.without.depth(suspect.suite),
            named=suspect.named,
        )

    return Blame(
        model=model,
        version=past.entry.version,
        rows=rows,
        loss_with_all={suite: found.whole.depth(suite) for suite in found.whole.changes},
        shown=found.whole.shown(),
        suspects=tuple(as_noun(suspect) for suspect in found.suspects),
        blamed=tuple(map(as_noun, found.blamed)),
        not_asked=found.not_asked,
        probes=probes,
        written=written,
    )


def show(console: Console, said: Blame) -> None:
    """What was found, for people."""

    def line(text: str) -> None:
        console.print(text, highlight=False)

    line(
        f"[bold]{escape(said.model)}[/] version {said.version} failed on "
        f"{', '.join(said.loss_with_all)}"
    )
    for gate, lost in said.loss_with_all.items():
        line(f"  {gate}: a probe over all {said.rows} rows loses {lost:.2f} margins")
        for one in said.suspects:
            if one.gate == gate:
                word = "named" if one.named else "not named"
                line(
                    f"    {one.by} {escape(clean(one.name))}: {one.rows} rows "
                    f"({one.share:.0%}); without it {one.loss_without:+.2f} margins are lost: {word}"
                )
        line(f"    {_conclusion(said, gate)}")
    if said.written:
        line(
            f"  the drop without what is named is {escape(str(said.written))}; next: "
            f"tidegate update {escape(str(said.written))} --model {escape(said.model)}"
        )


def _conclusion(said: Blame, gate: str) -> str:
    for one in said.blamed:
        if one.gate != gate:
            continue
        name = f"{one.by} {escape(clean(one.name))}"
        if one.share > HALF:
            return (
                f"the loss comes with [bold]{name}[/], which is {one.share:.0%} of the rows: "
                "look at them, and at the recipe (its rate, its anchors) before you leave them out"
            )
        return f"[bold]{name}[/] does the harm: leave it out, or look at its records"
    if gate not in said.shown:
        return "a short probe does not repeat the loss; give it more rows (--rows)"
    out = f"; no probes were left for: {', '.join(said.not_asked)}" if said.not_asked else ""
    return (
        f"no single slice explains it: without each, over {HALF:.0%} of the loss stays, or the "
        f"difference is no larger than chance{out}"
    )
