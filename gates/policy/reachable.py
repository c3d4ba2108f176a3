"""Gates that cannot do anything: never blocking, never passing, or always after another.

A gate that never blocks, or that nothing can pass, is refused. A setting that another one
always decides first does no harm, but says something that is not so: a warning.

What shadows what, all of it:
 * Once a record is quarantined it is not kept: `max_records` beside `quarantine: true`
   counts nothing, and `max_quarantined_share` above the budget of all gates together is
   never the first to fail.
 * Against the anchor a loss may be smaller than against the champion: then the champion's
   margin does not decide, at least until champion and anchor part.
 * Slices that together are the whole suite, each with a smaller margin than the mean's.
 * Gaining on the champion (`learned`) implies being no worse than it.
"""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from tidegate.gates.checks.fits_schema import Schema
from tidegate.gates.checks.gains_plausibly import Cap
from tidegate.gates.checks.learned import Gain
from tidegate.gates.checks.not_contaminated import Overlap
from tidegate.gates.checks.not_worse import Margin
from tidegate.gates.checks.reaches import Level
from tidegate.gates.checks.within_quarantine_budget import Budget
from tidegate.gates.comparison import BINARY, LOWER_IS_BETTER
from tidegate.gates.decide import WORST_FIRST
from tidegate.gates.gate import Comparing, Params, RowParams
from tidegate.gates.policy.decidable import margins
from tidegate.gates.policy.finding import Finding, Place, SuiteFacts, at, refuse, warn
from tidegate.gates.policy.nouns import GateUse, Policy
from tidegate.gates.tighter import LOWER

# Guessing evenly among a million tokens costs 14 nats a token; no mean moves by more.
MOST_NATS = 20.0
ENDLESS_RECORDS = 1_000_000_000
P = TypeVar("P", bound=Params)
NEVER = "it never blocks anything"


def idle(policy: Policy, suites: dict[str, SuiteFacts]) -> Iterator[Finding]:
    """Gates and settings of a policy that decide nothing."""
    budget = next((u for u, _ in _of(policy.data, Budget)), None)
    for use in policy.data:
        yield from _no_limits("data", use)
        if isinstance(use.params, RowParams):
            yield from _records(policy, use, use.params, budget)
    for use in policy.model:
        yield from _no_limits("model", use)
        if isinstance(use.params, Comparing):
            yield from _endless(use, use.params)
    for use, margin in _of(policy.model, Margin):
        yield from _decided_first(policy, use, margin, suites)
    for use, gain in _of(policy.model, Gain):
        for _, cap in _of(policy.model, Cap):
            if _asks(cap) == _asks(gain) and gain.at_least >= cap.at_most:
                said = (
                    f"at_least: {gain.at_least:g}, and gains_plausibly stops at {cap.at_most:g}"
                )
                act = "ask for less, or allow more: no candidate can meet both"
                yield refuse(use.title, at("model", use, "at_least"), said, act)


def _of(uses: Sequence[GateUse], kind: type[P]) -> list[tuple[GateUse, P]]:
    return [(use, use.params) for use in uses if isinstance(use.params, kind)]


def _asks(p: Comparing) -> tuple[str, str]:
    return p.suite, p.metric


def _no_limits(stage: str, use: GateUse) -> Iterator[Finding]:
    """Upper limits on a share that are the whole, where the gate's default is not."""
    for name, field in type(use.params).model_fields.items():
        at_most_1 = any(getattr(bound, "le", None) == 1 for bound in field.metadata)
        is_share = LOWER in field.metadata and at_most_1
        if is_share and getattr(use.params, name) == 1 and field.default != 1:
            # A gate that drops records still drops them; this one has nothing else to do.
            alone = isinstance(use.params, Budget)
            said = (
                f"{name}: no share is above 1, so {NEVER if alone else 'this limits nothing'}"
            )
            yield (refuse if alone else warn)(
                use.title, at(stage, use, name), said, "set a share below 1"
            )


def _records(
    policy: Policy, use: GateUse, p: RowParams, budget: GateUse | None
) -> Iterator[Finding]:
    if p.quarantine:
        yield from _quarantined(use, p, budget)
        return
    rows = policy.envelope.data.rows if policy.envelope else None
    most = rows.high if rows and rows.high is not None else ENDLESS_RECORDS
    # These two block for other reasons as well.
    if p.max_records >= most and not isinstance(p, Schema | Overlap):
        said = f"max_records: {p.max_records:,} is as many as a batch may hold; {NEVER}"
        act = "set how many records of a batch may match"
        yield refuse(use.title, at("data", use, "max_records"), said, act)


def _quarantined(use: GateUse, p: RowParams, budget: GateUse | None) -> Iterator[Finding]:
    if p.max_records > 0:
        said = f"max_records: {p.max_records}, but quarantine leaves no record that matches"
        act = "leave max_records out; max_quarantined_share is the limit here"
        yield warn(use.title, at("data", use, "max_records"), said, act)
    if budget is None or not isinstance(budget.params, Budget):
        return
    most = budget.params.max_share
    if p.max_quarantined_share > most and _as_strict(budget, use):
        said = (
            f"max_quarantined_share: {p.max_quarantined_share:g} never decides, because "
            f"{budget.title} fails at {most:g}"
        )
        act = f"set max_quarantined_share to {most:g} or less"
        yield warn(use.title, at("data", use, "max_quarantined_share"), said, act)


def _endless(use: GateUse, p: Comparing) -> Iterator[Finding]:
    """Limits that no mean can cross."""
    most = 1.0 if p.metric in BINARY else MOST_NATS
    unit = "a share" if p.metric in BINARY else "a mean in nats per token"
    for setting, margin in _all_margins(use).items():
        if margin >= most:
            said = f"{' '.join(setting)}: {unit} never moves by {margin:g}; {NEVER}"
            yield refuse(use.title, at("model", use, *setting), said, f"stay below {most:g}")
    where = at("model", use, "at_least")
    if isinstance(p, Gain) and p.at_least >= most:
        said = f"at_least: {unit} never moves by {p.at_least:g}; nothing can pass"
        yield refuse(use.title, where, said, f"stay below {most:g}")
    if isinstance(p, Level):
        highest = 1.0 if p.metric in BINARY else MOST_NATS
        lowest = 0.0 if p.metric in BINARY else -MOST_NATS
        if p.metric in LOWER_IS_BETTER:
            highest = 0.0
        if p.at_least >= highest:
            said = f"at_least: {p.metric} here never exceeds {highest:g}; nothing can pass"
            yield refuse(use.title, where, said, f"stay below {highest:g}")
        elif p.at_least < lowest:
            said = f"at_least: {p.metric} here is never below {lowest:g}; {NEVER}"
            yield refuse(use.title, where, said, f"stay above {lowest:g}")


def _all_margins(use: GateUse) -> dict[Place, float]:
    found = margins(use)
    if isinstance(use.params, Margin) and use.params.slices:
        found["slices", "worst"] = use.params.slices.worst
    return found


def _decided_first(
    policy: Policy, use: GateUse, p: Margin, suites: dict[str, SuiteFacts]
) -> Iterator[Finding]:
    champion, anchor = p.than.champion, p.than.anchor
    where = at("model", use, "than", "champion")
    if champion and anchor and anchor <= champion:
        said = (
            f"than champion: {champion:g} does not decide, because against the anchor only "
            f"{anchor:g} may be lost"
        )
        yield warn(use.title, where, said, f"set the champion's margin below {anchor:g}")
    for other, gain in _of(policy.model, Gain):
        alone = champion and not anchor and not p.slices
        if alone and _asks(gain) == _asks(p) and _as_strict(other, use):
            said = f"{other.title} asks for a gain on the champion, so this never decides"
            yield warn(use.title, where, said, "remove this gate, or compare with the anchor")
    slices = p.slices
    counts = suites[p.suite].slices.get(slices.by, {}) if slices and p.suite in suites else {}
    if slices and counts and min(counts.values()) >= slices.min_items:
        for name, margin in p.than.given().items():
            if slices.worst < margin:
                said = (
                    f"than {name}: {margin:g} never decides, because no slice may lose more "
                    f"than {slices.worst:g}"
                )
                act = f"set it to {slices.worst:g} or less, or let slices lose more"
                yield warn(use.title, at("model", use, "than", name), said, act)


def _as_strict(other: GateUse, use: GateUse) -> bool:
    return WORST_FIRST.index(other.on_fail) <= WORST_FIRST.index(use.on_fail)
