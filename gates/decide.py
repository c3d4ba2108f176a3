"""From a policy and what was seen to a decision. Pure: no clock, no disk, no network.

The rules, all of them:
 * Every gate of the stage gives one ruling.
 * PASS promotes. FAIL does what the policy says: reject, or hold for a person.
 * A comparison fails where Holm's procedure over all comparisons of the stage says so, at
   the policy's false_block_rate. One that was never made counts as the worst there can be:
   leaving a measurement out may not make the others look better.
 * INCONCLUSIVE does what `statistics.on_inconclusive` says, and never better than a hold.
 * MISSING and ERROR, where evidence was never made or the gate itself broke, are no
   better than FAIL.
 * A child policy is never better than its parent: both rule, and the worse ruling counts.
 * The worst ruling decides. No rulings at all are an ERROR of the policy, and hold.

So leaving a measurement out can never lead to a better action than the measurement did.
"""

from collections.abc import Iterable, Sequence

from tidegate.gates.gate import How, Tested, load_gates
from tidegate.gates.policy.nouns import GateUse, Policy
from tidegate.gates.statistics.multiple import holm
from tidegate.gates.types import (
    Action,
    BatchEvidence,
    BrokenEvidence,
    CandidateEvidence,
    Decision,
    Evidence,
    MissingEvidence,
    Outcome,
    Ruling,
    Verdict,
)

WORST_FIRST = (Action.REJECT, Action.HOLD, Action.PROMOTE)


def judge(policy: Policy, evidence: BatchEvidence | CandidateEvidence) -> tuple[Ruling, ...]:
    """Ask every gate of the policy that judges this kind of evidence."""
    uses = policy.data if isinstance(evidence, BatchEvidence) else policy.model
    verdicts = [_ask(policy, use, evidence) for use in uses]
    failed = _failed(policy, uses, verdicts)
    rulings = tuple(
        _rule(policy, use, _fail(verdict) if fails else verdict)
        for use, verdict, fails in zip(uses, verdicts, failed, strict=True)
    )
    if policy.parent is None:
        return rulings
    above = {ruling.title: ruling for ruling in judge(policy.parent, evidence)}
    return tuple(_worse(ruling, above.get(ruling.title), policy.parent) for ruling in rulings)


def decide(rulings: Sequence[Ruling]) -> Decision:
    """The worst ruling decides."""
    if not rulings:
        nothing = Verdict(outcome=Outcome.ERROR, reason="no gate judged anything")
        rulings = [
            Ruling(
                gate="policy",
                title="policy",
                verdict=nothing,
                action=Action.HOLD,
                why="a decision without a single ruling is not a decision",
            )
        ]
    return Decision(action=worst(r.action for r in rulings), rulings=tuple(rulings))


def worst(actions: Iterable[Action]) -> Action:
    found = set(actions)
    return next(action for action in WORST_FIRST if action in found)


def unsettled(policy: Policy, evidence: CandidateEvidence) -> tuple[str, ...]:
    """The suites of which more items could still settle a gate.

    Empty where the policy does not escalate, once every gate has passed or failed or has
    seen all items of its suite, and once a gate rejects: nothing more can undo that.
    """
    if not policy.escalates:
        return ()
    rulings = judge(policy, evidence)
    if any(r.action is Action.REJECT and r.verdict.outcome is Outcome.FAIL for r in rulings):
        return ()
    wanted: list[str] = []
    for use, ruling in zip(policy.model, rulings, strict=True):
        short = any(c.n < c.planned for c in ruling.verdict.compared)
        unsure = ruling.verdict.outcome is Outcome.INCONCLUSIVE
        if isinstance(use.params, Tested) and unsure and short:
            wanted += use.params.suites()
    return tuple(dict.fromkeys(wanted))


def _ask(policy: Policy, use: GateUse, evidence: Evidence) -> Verdict:
    params = use.params
    if isinstance(params, Tested):
        params = params.model_copy(update={"how": how_sure(policy)})
    try:
        return load_gates()[use.gate].check(params, evidence)
    except MissingEvidence as missing:
        return Verdict(outcome=Outcome.MISSING, reason=str(missing))
    except BrokenEvidence as broken:
        return Verdict(outcome=Outcome.ERROR, reason=str(broken))
    except Exception as broken:  # noqa: BLE001  a gate that breaks has not passed
        reason = f"the gate itself failed: {type(broken).__name__}: {broken}"
        return Verdict(outcome=Outcome.ERROR, reason=reason)


def how_sure(policy: Policy) -> How:
    """The policy's error rates, as one comparison of its model stage has them."""
    s = policy.statistics
    return How(
        false_pass_rate=s.false_pass_rate,
        # For the bound that is shown; what fails is decided by Holm over the p-values.
        false_block_rate=s.false_block_rate / max(1, _planned(policy)),
        interval=s.interval,
        early_share=s.sequential.early_share if policy.escalates else 0,
        bound_margins=s.sequential.bound_margins,
    )


def _planned(policy: Policy) -> int:
    return sum(_comparisons(use) for use in policy.model)


def _comparisons(use: GateUse) -> int:
    return use.params.comparisons() if isinstance(use.params, Tested) else 0


def _failed(policy: Policy, uses: Sequence[GateUse], verdicts: Sequence[Verdict]) -> list[bool]:
    """Which gates fail by Holm's step-down procedure over the comparisons of the stage."""
    p_values: list[float] = []
    owners: list[int] = []
    for owner, (use, verdict) in enumerate(zip(uses, verdicts, strict=True)):
        made = [c.p_block for c in verdict.compared]
        never = [0.0] * (_comparisons(use) - len(made))
        p_values += [*made, *never]
        owners += [owner] * len([*made, *never])
    fails = [False] * len(uses)
    for owner, rejected in zip(
        owners, holm(p_values, policy.statistics.false_block_rate), strict=True
    ):
        judged = verdicts[owner].outcome is Outcome.INCONCLUSIVE
        fails[owner] = fails[owner] or (rejected and judged)
    return fails


def _fail(verdict: Verdict) -> Verdict:
    lowest = min(verdict.compared, key=lambda c: c.p_block)
    return verdict.model_copy(
        update={"outcome": Outcome.FAIL, "observed": lowest.high, "limit": lowest.limit}
    )


def _rule(policy: Policy, use: GateUse, verdict: Verdict) -> Ruling:
    action = _action(policy, use, verdict.outcome)
    return Ruling(gate=use.gate, title=use.title, verdict=verdict, action=action, why=use.why)


def _action(policy: Policy, use: GateUse, outcome: Outcome) -> Action:
    match outcome:
        case Outcome.PASS:
            return Action.PROMOTE
        case Outcome.INCONCLUSIVE:
            # A gate that could only hold on failure does not reject for being unsure.
            unsure = policy.statistics.on_inconclusive == "reject"
            return use.on_fail if unsure else Action.HOLD
        case Outcome.MISSING if policy.baselines.on_missing == "reject":
            return Action.REJECT
        case _:
            return use.on_fail


def _worse(own: Ruling, above: Ruling | None, parent: Policy) -> Ruling:
    if above is None or WORST_FIRST.index(above.action) >= WORST_FIRST.index(own.action):
        return own
    reason = f"{above.verdict.reason} (as the policy {parent.policy!r} rules)"
    return own.model_copy(
        update={
            "action": above.action,
            "verdict": above.verdict.model_copy(update={"reason": reason}),
        }
    )
