"""Rebase: the recorded chain of a model line, learned again on another base in a new line.

    plan → for each update of the chain, oldest first: the whole cycle → probes → act `rebase`

Each step is an ordinary update of the new line: its recorded policy, recipe, batch, questions
and seed, replay drawn by the same rule from the same batches, all gates against the new line's
own champion and anchor. The first that is not promoted ends the rebase; what was promoted before
it serves in the new line. The old line stays as it is.

Nothing is kept of how far it came: the ledger says what the new line has learned, so the same
command goes on there, also after a kill, and after a person approved or waived.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from prefect import flow

from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.progress import report as progress
from tidegate.flows.progress import stage
from tidegate.flows.rebasing.plan import RebasePlan, StepPlan, make_plan
from tidegate.flows.rebasing.survival import Survived, survival
from tidegate.flows.registry import Registry
from tidegate.flows.repeating import learned_by, repeat, stopped_by
from tidegate.flows.tracing import index
from tidegate.gates.audit import statement
from tidegate.gates.digest import digest_json
from tidegate.gates.types import Action, Digest, Noun


class Rebased(Noun):
    """What came of one update of the chain in the new line."""

    of: str  # version in the old line
    batch: Digest
    version: str
    update_id: str
    action: Action
    reason: str = ""
    same_rows: bool  # learned and replayed are the rows that were then

    @property
    def done(self) -> bool:
        return self.action is Action.PROMOTE


class RebaseResult(Noun):
    """What a rebase came to, as `tidegate rebase --json` prints it."""

    plan: RebasePlan
    now: str  # the new line's champion
    steps: tuple[Rebased, ...]  # up to the first that was not promoted
    complete: bool
    survived: tuple[Survived, ...]
    exit_code: int  # 0 complete; else of the step that stopped it
    statement: Digest


@flow(name="rebase")
def rebase(
    model: str,
    base: str,
    home: str,
    to: str | None = None,
    who: str = "unknown",
    tracking_uri: str | None = None,
) -> RebaseResult:
    """Learn a line's chain again on another base, as the line `to`, and ask what survived.

    Raises what make_plan and an update raise; killed or failed, the same call goes on.
    """
    place = Home(Path(home))
    plan, bases = make_plan(place, model, base, to, progress)
    steps: list[Rebased] = []
    code = 0
    for number, step in enumerate(plan.steps, 1):
        stage(f"learn update {number} of {len(plan.steps)}")
        made, code = _learned(place, plan, step, who, tracking_uri)
        steps.append(made)
        if not made.done:
            break
    registry = Registry.open(place, tracking_uri)
    now = registry.aliases(plan.to)["champion"]
    stage("ask what survived")
    accepted = {one.of for one in steps if one.done}
    survived = survival(place, registry, plan, bases, now, accepted, progress)
    complete = all(one.done for one in steps)
    stage("write down what was done")
    written = Ledger(place.ledger).append(_act(plan, now, steps, survived, complete, who))
    return RebaseResult(
        plan=plan,
        now=now,
        steps=tuple(steps),
        complete=complete,
        survived=survived,
        exit_code=code,
        statement=written,
    )


def _learned(
    home: Home, plan: RebasePlan, step: StepPlan, who: str, uri: str | None
) -> tuple[Rebased, int]:
    """Repeat a step, or find that it was; and the exit code of its update."""
    one = step.again
    found = learned_by(home, plan.to, one.batch, uri) if step.done else None
    if found is not None:
        version, update_id, action, reason, code = (
            found.version, found.update_id, Action.PROMOTE, "", 0,
        )  # fmt: skip
    else:
        result = repeat(
            home, one, of=plan.model, model=plan.to, who=who, uri=uri, base=plan.base
        )
        version, update_id = result.version, result.update_id
        action, reason, code = result.decision.action, stopped_by(result), result.exit_code
        if action is Action.PROMOTE and not learned_by(home, plan.to, one.batch, uri):
            action, reason, code = Action.HOLD, "was rolled back since", 2
    made = Rebased(
        of=one.version,
        batch=one.batch,
        version=version,
        update_id=update_id,
        action=action,
        reason=reason,
        same_rows=_rows(home, one.update_id, one.batch) == _rows(home, update_id, one.batch),
    )
    return made, code


def _rows(home: Home, update_id: str, batch: Digest) -> list[tuple[str, str]]:
    """Marks of what an update learned and replayed."""
    found: pa.Table = index.read(home, update_id, batch).rows
    pairs = zip(found["record"].to_pylist(), found["fate"].to_pylist(), strict=True)
    return sorted(pair for pair in pairs if pair[1] in index.IN_THE_WEIGHTS)


def _act(
    plan: RebasePlan,
    now: str,
    steps: list[Rebased],
    survived: tuple[Survived, ...],
    complete: bool,
    who: str,
) -> dict[str, Any]:
    """The same end is the same act, however often it was come to."""
    about: dict[str, Any] = {
        "action": "rebase",
        "from": {"model": plan.model, "version": plan.champion, "base": plan.old_base_digest},
        "version": now,
        "complete": complete,
        "updates": [
            {
                "of": one.of,
                "version": one.version,
                "update_id": one.update_id,
                "action": one.action,
                "same_rows": one.same_rows,
            }
            for one in steps
        ],
        "survived": [_said(one) for one in survived],
    }
    named = {**about, "to": plan.to, "base": plan.base_digest}
    return statement(
        act="rebase",
        model=plan.to,
        subjects={"base": plan.base_digest},
        about={
            "decision_id": f"rebase {digest_json(named)[7:27]}",
            "requester": who,
            **about,
        },
        decided_at=datetime.now(UTC),
    )


def _said(one: Survived) -> dict[str, Any]:
    """Numbers as decimal strings: two readers of a statement must not round differently."""
    found: dict[str, Any] = {"of": one.of, "outcome": one.outcome}
    for name in ("before", "now", "difference"):
        pair = getattr(one, name)
        if pair is not None:
            found[name] = {
                "mean": repr(pair.mean),
                "low": None if pair.low is None else repr(pair.low),
                "high": None if pair.high is None else repr(pair.high),
                "n": pair.n,
                "method": pair.method,
            }
    return found
