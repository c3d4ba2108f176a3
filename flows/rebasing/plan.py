"""What a rebase would do: read from the ledger and the stored updates; changes nothing.

The chain is the champion's: the promoted updates from the base to what serves, by signed
statements. Everything that a repetition will need is looked for before any work: batches,
policies, recipes and questions as they were recorded, and both bases.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from tidegate.flows.asked import recorded_rules
from tidegate.flows.home import Home
from tidegate.flows.intake.batches import load_batch
from tidegate.flows.ledger import Ledger
from tidegate.flows.reconciling.expected import Expected, expected
from tidegate.flows.repeating import Again, again, asked_of
from tidegate.flows.tracing.steps import Step, Steps, chain, read_steps
from tidegate.flows.usage import UsageError
from tidegate.gates.types import Digest, Noun, Report, ignore_progress
from tidegate.training.base import Base, find_base

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # a registered model and a file name


class StepPlan(Noun):
    """One update that will be learned again, and by which rules."""

    again: Again
    policy: str
    method: str
    rows: int  # of the batch
    done: str | None = None  # the new line's version that learned it already


class RebasePlan(Noun):
    """A chain, from where and to where. Digests, names and counts only."""

    model: str
    champion: str  # version whose chain it is
    to: str  # the new model line
    base: str  # as a recipe names it: an embedded model, or an absolute path
    base_digest: Digest
    old_base_digest: Digest
    steps: tuple[StepPlan, ...]


@dataclass(frozen=True)
class Bases:
    """Where the chain's base is on this machine, and where the one that it moves to."""

    old: Base
    new: Base


def make_plan(
    home: Home, model: str, base: str, to: str | None, progress: Report = ignore_progress
) -> tuple[RebasePlan, Bases]:
    """The chain of a line's champion on another base.

    base: an embedded model or a folder. to: the new line; LINE-BASE if none is named.
    Raises UsageError for a line that has learned nothing, for a new line that has learned
    something else, and for what is gone; BaseError, IngestError and BrokenLedger likewise.
    """
    written = Ledger(home.ledger).read()
    known = sorted({record["predicate"]["model"] for _, record in written} - {""})
    if model not in known:
        raise UsageError(
            f"there is no model line {model!r}; known: {', '.join(known) or 'none yet'}"
        )
    must, steps = expected(written, model), read_steps(home)
    champion = must.now.champion or ""
    way = chain(steps, model, champion)
    if not way:
        raise UsageError(f"{model!r} has learned nothing yet: there is no update to repeat")
    found = find_base(base, home.cache, progress)
    named = str(found.folder) if Path(base).expanduser().is_dir() else base
    target = to or f"{model}-{re.sub(r'[^A-Za-z0-9._-]', '-', found.name)}"
    if not NAME.fullmatch(target):
        raise UsageError(f"{target!r} cannot name a model line; name one with --to")
    if target == model:
        raise UsageError(f"{model!r} stays as it is; name another line with --to")
    old = _old_base(home, model, must, way[-1], progress)
    done = _done(steps, expected(written, target), target, found, way)
    return (
        RebasePlan(
            model=model,
            champion=champion,
            to=target,
            base=named,
            base_digest=found.digest,
            old_base_digest=old.digest,
            steps=tuple(
                _step(home, model, step, done[i].version if i < len(done) else None)
                for i, step in enumerate(way)
            ),
        ),
        Bases(old, found),
    )


def _step(home: Home, model: str, step: Step, done: str | None) -> StepPlan:
    one = again(step)
    asked_of(home, model, one)
    rules, how = recorded_rules(home, step.update_id)
    return StepPlan(
        again=one,
        policy=f"{rules.policy} v{rules.version}",
        method=how.method,
        rows=load_batch(home, step.batch).rows,
        done=done,
    )


def _old_base(home: Home, model: str, must: Expected, last: Step, progress: Report) -> Base:
    """The base that the chain stands on: what survives is told by comparing with it."""
    _, how = recorded_rules(home, last.update_id)
    found = find_base(how.base, home.cache, progress)
    wanted = must.versions[must.now.anchor or ""].subjects["base"]
    if found.digest != wanted:
        raise UsageError(
            f"{how.base} is not the base of {model!r} any more ({found.digest}, the ledger says "
            f"{wanted}); put the files back"
        )
    return found


def _done(
    steps: Steps, must: Expected, to: str, base: Base, way: tuple[Step, ...]
) -> tuple[Step, ...]:
    """What the new line has learned of the chain already; it must be its beginning."""
    if not must.versions:
        return ()
    stands = must.versions[must.now.anchor or ""].subjects["base"]
    if stands != base.digest:
        raise UsageError(
            f"{to!r} stands on the base {stands}, not on {base.name} ({base.digest}); name a new "
            "line with --to"
        )
    made = chain(steps, to, must.now.champion or "")
    if [s.batch for s in made] != [s.batch for s in way[: len(made)]]:
        raise UsageError(
            f"{to!r} has learned something else than this chain; name a new line with --to"
        )
    return made


def show_plan(console: Console, plan: RebasePlan) -> None:
    same = " (the base that it stands on)" if plan.base_digest == plan.old_base_digest else ""
    console.print(
        f"{escape(plan.model)} version {plan.champion} on {escape(plan.base)}{same}, as the line "
        f"{escape(plan.to)}: {len(plan.steps)} updates, oldest first",
        highlight=False,
        soft_wrap=True,
    )
    for step in plan.steps:
        state = f"learned already, version {step.done}" if step.done else "to be learned"
        console.print(
            f"  version {step.again.version}: {step.rows:,} rows, {escape(step.method)}, policy "
            f"{escape(step.policy)}; {state}",
            highlight=False,
        )
