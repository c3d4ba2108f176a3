"""A recorded update again: its policy, recipe, questions and batch, on what serves now.

What a rebuild after an erasure and a rebase have in common. Each repetition is an ordinary
update: all gates, a statement and a version of its own. What was promoted with a waiver needs
its waiver again, and what was approved its approval.
"""

from collections.abc import Mapping
from pathlib import Path

from tidegate.flows.asked import Asked, recall
from tidegate.flows.home import Home
from tidegate.flows.intake.stored import PREFIX
from tidegate.flows.one_update import UpdateResult
from tidegate.flows.registry import Registry
from tidegate.flows.rules import DEFAULT_POLICY
from tidegate.flows.tracing.steps import Step, ancestry, read_steps
from tidegate.flows.usage import UsageError
from tidegate.gates.types import Action, Digest, Noun


class Again(Noun):
    """One recorded update that is to be repeated."""

    version: str
    update_id: str
    batch: Digest  # as it was recorded


def again(step: Step) -> Again:
    return Again(version=step.version, update_id=step.update_id, batch=step.batch)


def learned_by(home: Home, model: str, batch: Digest, uri: str | None) -> Step | None:
    """The update by which the champion learned a batch, however it was promoted."""
    champion = Registry.open(home, uri).aliases(model).get("champion", "")
    steps = ancestry(read_steps(home), model, champion)
    return next((step for step in steps if step.batch == batch), None)


def asked_of(home: Home, model: str, one: Again) -> Asked:
    """What the update was asked with; raises UsageError where its probes are gone."""
    asked = recall(home, one.update_id) or Asked(policy=str(DEFAULT_POLICY))
    if asked.probes and not Path(asked.probes).exists():
        raise UsageError(
            f"{asked.probes}: the questions that version {one.version} of {model!r} was asked "
            "are gone; put the file back and run the same command again"
        )
    return asked


def repeat(
    home: Home,
    one: Again,
    *,
    of: str,
    model: str,
    who: str,
    uri: str | None,
    base: str | None = None,
    renamed: Mapping[Digest, Digest | None] | None = None,
) -> UpdateResult:
    """Run one recorded update of the line `of` again in the line `model`.

    base: another base than the recorded recipe's. renamed: batches that have another digest by
    now, because rows of them were erased. Raises what an update raises.
    """
    # Imported here: it loads torch, which nobody needs who only asks for a plan.
    from tidegate.flows.update import update

    asked, now = asked_of(home, of, one), renamed or {}
    result: UpdateResult = update(
        drops=[f"{PREFIX}{now.get(one.batch, one.batch)}"],
        policy=asked.policy,
        model=model,
        home=str(home.root),
        tracking_uri=uri,
        probes=asked.probes,
        suites=asked.suites,
        trusted=now.get(asked.trusted, asked.trusted) if asked.trusted else None,
        requester=who,
        like=one.update_id,
        base=base,
    )
    return result


def stopped_by(result: UpdateResult) -> str:
    """The gates that stood in the way, for people; empty if none did."""
    return ", ".join(r.title for r in result.decision.rulings if r.action is not Action.PROMOTE)
