"""One ruling in words for a reviewer: what was asked, what was seen, what it means.

The sentences are about the very numbers that the gate compared. Signs are as people read
them: a loss is negative, also where the gate looks at it from the other side.
"""

import math
import re
from collections.abc import Sequence
from statistics import stdev

from tidegate.flows.reviewing.wording import change, level, number
from tidegate.gates.checks.gains_plausibly import Cap
from tidegate.gates.checks.learned import Gain
from tidegate.gates.checks.not_worse import Margin
from tidegate.gates.checks.reaches import Level
from tidegate.gates.checks.stays_aligned import IN_STYLE
from tidegate.gates.comparison import BINARY, paired
from tidegate.gates.decide import how_sure
from tidegate.gates.gate import Comparing, Params, RowParams, load_gates
from tidegate.gates.made import dressed
from tidegate.gates.policy.nouns import GateUse, Policy
from tidegate.gates.statistics.estimate import NotComparable
from tidegate.gates.statistics.power import pairs_needed, smallest_visible_loss
from tidegate.gates.types import (
    Action,
    BrokenEvidence,
    Compared,
    Evidence,
    MissingEvidence,
    Outcome,
    Verdict,
)

UNITS = {
    "margin": "nats per token by which the right answer is preferred to the best wrong one",
    "acc": "right answers, from 0 for none to 1 for all",
    "nll": "nats per token of the text, counted so that positive is better",
    "answer_nll": "nats per token of the right answer, counted so that positive is better",
}
WHO = {
    "champion": "the champion (what serves today)",
    "anchor": "the anchor (the first release)",
}
EFFECT = {
    Action.PROMOTE: "It does not stand in the way of the update.",
    Action.HOLD: "So the update is held for a person.",
    Action.REJECT: "So the update is rejected.",
}


def asked(use: GateUse) -> str:
    """What a gate asks for, with the limits that the policy sets."""
    p = use.params
    match p:
        case Margin():
            limits = " and ".join(
                f"at most {level(margin)} against {WHO[than]}"
                for than, margin in p.than.given().items()
            )
            parts = (
                f" On no {p.slices.by} by itself may it lose more than {level(p.slices.worst)}."
                if p.slices
                else ""
            )
            return (
                f"What the model could do before, it can still do: an item of {p.suite} loses "
                f"{limits}, on average.{parts}{_unit(p)}"
            )
        case Gain():
            return (
                f"The update teaches what it is for: an item of {p.suite} gains at least "
                f"{level(p.at_least)} against {WHO['champion']}, on average.{_unit(p)}"
            )
        case Cap():
            return (
                f"No gain is too good to be true: an item of {p.suite} gains at most "
                f"{level(p.at_most)} against {WHO['champion']}, on average.{_unit(p)}"
            )
        case Level():
            return (
                f"The model is good enough, whatever it was before: the mean of {p.suite} is "
                f"at least {level(p.at_least)}.{_unit(p)}"
            )
    return _with_values(load_gates()[use.gate].summary, p) + _routed(p)


def _with_values(summary: str, p: Params) -> str:
    """The gate's own sentence, with the policy's numbers for the names of its settings."""
    for name, value in p.model_dump().items():
        summary = re.sub(rf"\b{name}\b", str(value), summary)
    return summary


def _routed(p: Params) -> str:
    if not isinstance(p, RowParams):
        return ""
    done = [
        *(["masked where that is enough"] if p.mask else []),
        *(["dropped from the batch"] if p.quarantine else []),
    ]
    if not done:
        return ""
    most = f"; at most {p.max_quarantined_share:.0%} of it may be" if p.quarantine else ""
    return f" What it names is {' or else '.join(done)}{most}."


def seen(use: GateUse, verdict: Verdict, policy: Policy) -> tuple[str, ...]:
    """One sentence for each comparison, or what the gate itself says."""
    if not isinstance(use.params, Comparing) or not verdict.compared:
        return (verdict.reason,)
    return tuple(_seen(use.params, c, policy) for c in verdict.compared)


def _seen(p: Comparing, c: Compared, policy: Policy) -> str:
    sign, side = (-1, "below") if isinstance(p, Cap) else (1, "above")
    show = level if isinstance(p, Level) else change
    items = f"all {c.n} items" if c.n >= c.planned else f"{c.n} of {c.planned} items"
    if c.low is None and c.high is None:
        return f"{_against(c)}{show(sign * c.mean)} an item on average, on {items}; {c.method}."
    worst, best = (
        "without bound" if bound is None else show(sign * bound) for bound in (c.low, c.high)
    )
    sure = 1 - policy.statistics.false_pass_rate
    return (
        f"{_against(c)}{show(sign * c.mean)} an item on average, on {items}. Allowing for "
        f"chance, the truth at worst is {worst} ({sure:.0%} sure; {c.method}), and that must be "
        f"{side} {show(sign * c.limit)}; at best it is {best}."
    )


def _against(c: Compared) -> str:
    role, part = _role(c), _part(c)
    if role not in WHO:
        return ""
    return f"Against the {role}, on its {part}: " if part else f"Against the {role}: "


def _role(c: Compared) -> str:
    """The baseline; what follows it in `than` says which part, or from which side."""
    return c.than.partition(",")[0]


def _part(c: Compared) -> str:
    """`worst language en`, or nothing where the whole suite was compared."""
    part = c.than.partition(", ")[2]
    return "" if part == "mirrored" else part


def meaning(use: GateUse | None, verdict: Verdict, action: Action, policy: Policy) -> str:
    """What an outcome says, and what it does to the update."""
    s = policy.statistics
    compared = use is not None and isinstance(use.params, Comparing) and verdict.compared
    match verdict.outcome:
        case Outcome.PASS if compared:
            said = (
                "Even the bad end of what may be true keeps the limit. An update that truly "
                f"breaks it passes here at most {s.false_pass_rate:.0%} of the time."
            )
        case Outcome.FAIL if compared:
            p = min(c.p_block for c in verdict.compared)
            said = (
                f"The limit is broken, and by more than chance explains (p = {p:.2g}; over all "
                f"comparisons together, chance fails a harmless update at most "
                f"{s.false_block_rate:.0%} of the time)."
            )
        case Outcome.INCONCLUSIVE:
            said = (
                "What may be true reaches to both sides of the limit, or chance is not yet "
                "ruled out: the suite cannot tell. Not knowing never promotes."
            )
        case Outcome.PASS:
            said = "What the gate asks for holds."
        case Outcome.FAIL:
            said = "What the gate asks for does not hold."
        case Outcome.MISSING:
            said = "It was never measured, and what was not measured counts as not passed."
        case _:
            said = "The measurement or the gate broke, and that counts as not passed."
    return f"{said} {EFFECT[action]}"


def otherwise(use: GateUse | None, verdict: Verdict, policy: Policy) -> str | None:
    """What would have had to be different for the gate to pass; None if it passed."""
    match verdict.outcome:
        case Outcome.PASS:
            return None
        case Outcome.MISSING:
            return "The measurement would have had to be made."
        case Outcome.ERROR:
            return "What broke would have had to work; the sentence above says what it was."
    if use is not None and isinstance(use.params, Comparing) and verdict.compared:
        rate = policy.statistics.false_pass_rate
        short = [c for c in verdict.compared if c.p_pass > rate or c.mean <= c.limit]
        return " ".join(_otherwise(use.params, c) for c in short) or None
    if verdict.observed is None or verdict.limit is None or verdict.observed == verdict.limit:
        return None
    side = "at most" if verdict.observed > verdict.limit else "at least"
    observed, limit = number(verdict.observed), number(verdict.limit)
    return f"The number seen, {observed}, would have had to be {side} {limit}."


def _otherwise(p: Comparing, c: Compared) -> str:
    sign, side = (-1, "below") if isinstance(p, Cap) else (1, "above")
    show = level if isinstance(p, Level) else change
    if c.low is None:
        return f"{_against(c)}more items would have had to be measured."
    needed = c.limit + (c.mean - c.low)  # as uncertain as it was
    said = (
        f"{_against(c)}a mean {side} {show(sign * needed)} would have passed, all else equal; "
        f"it was {show(sign * c.mean)}."
    )
    if c.mean > c.limit and c.mean > c.low:
        # The width of an interval shrinks with the square root of the items.
        items = math.ceil(c.n * ((c.mean - c.low) / (c.mean - c.limit)) ** 2)
        said += f" The same mean on about {items:,} items would have, too."
    return said


def visible(
    use: GateUse, verdict: Verdict, evidence: Evidence, policy: Policy
) -> tuple[str, ...]:
    """The smallest change that the suite can tell from none, for each comparison."""
    p = use.params
    if not isinstance(p, Comparing):
        return ()
    found = []
    for c in verdict.compared:
        if c.low is None and c.high is None:
            continue  # it was not compared yet
        try:
            values = _values(p, c, evidence)
            found.append(_visible(p, c, _spread(p, values), len(values), policy))
        except (MissingEvidence, BrokenEvidence, NotComparable) as no:
            found.append(f"{_against(c)}the suite can see nothing: {no}.")
    return tuple(found)


def _visible(p: Comparing, c: Compared, sd: float, n: int, policy: Policy) -> str:
    power, how = policy.statistics.power, how_sure(policy)
    alpha = how.false_pass_rate * (1 - how.early_share)
    planned = max(c.planned, n)
    smallest = smallest_visible_loss(sd, planned, alpha=alpha, power=power)
    basis = f"{planned} items, changes that spread by {level(sd)}, power {power:.0%}"
    match p:
        case Gain() | Level():
            return (
                f"{_against(c)}to be shown here, the true mean must be about "
                f"{level(c.limit + smallest)} or more: {level(smallest)} past the limit ({basis})."
            )
        case Cap():
            what = "gain"
        case _:
            what = "loss"
    said = (
        f"{_against(c)}the smallest {what} that this suite can tell from none is "
        f"{level(smallest)} ({basis})."
    )
    if smallest > -c.limit > 0:
        items = pairs_needed(sd, -c.limit, alpha=alpha, power=power)
        said += f" The limit of {level(-c.limit)} asks for more: about {items:,} items."
    return said


def _values(p: Comparing, c: Compared, evidence: Evidence) -> tuple[float, ...]:
    """The per-item numbers behind a comparison, as it used them."""
    part = _part(c)
    suite = dressed(p.suite) if part.startswith(IN_STYLE) else p.suite
    candidate = evidence[f"{suite}.{p.metric}@candidate"]
    if isinstance(p, Level):
        return candidate.values
    changes = paired(evidence, suite, p.metric, _role(c))
    if isinstance(p, Margin) and p.slices and "worst" in part:
        name = part.partition(f"worst {p.slices.by} ")[2]
        labels = candidate.slices[p.slices.by]
        changes = changes.only([label == name for label in labels], name)
    return changes.values


def _spread(p: Comparing, values: Sequence[float]) -> float:
    if len(values) < 2:
        raise NotComparable(f"{len(values)} items have no spread")
    if p.metric in BINARY and not isinstance(p, Level):
        return math.sqrt(sum(v * v for v in values) / len(values))  # the discordant share's
    return stdev(values)


def _unit(p: Comparing) -> str:
    return f" Counted in {UNITS[p.metric]}." if p.metric in UNITS else ""
