"""From a policy and what was seen to a decision. Pure: no clock, no disk, no network.

The rules, all of them:
 * Every gate of the stage gives one ruling.
 * PASS promotes. FAIL does what the policy says: reject, or hold for a person.
 * INCONCLUSIVE does what `statistics.on_inconclusive` says, and never better than a hold.
 * MISSING and ERROR, where evidence was never made or the gate itself broke, are no
   better than FAIL.
 * The worst ruling decides. No rulings at all are an ERROR of the policy, and hold.

So leaving a measurement out can never lead to a better action than the measurement did.
"""

from collections.abc import Sequence

from tidegate.gates.gate import Comparing, load_gates
from tidegate.gates.policy import GateUse, Policy
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
    comparisons = sum(
        use.params.comparisons() for use in uses if isinstance(use.params, Comparing)
    )
    levels = {
        "false_pass_rate": policy.statistics.false_pass_rate,
        # Bonferroni: a harmless update must survive every comparison of the stage.
        "false_block_rate": policy.statistics.false_block_rate / max(1, comparisons),
    }
    return tuple(_rule(policy, use, evidence, levels) for use in uses)


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
    actions = {ruling.action for ruling in rulings}
    worst = next(action for action in WORST_FIRST if action in actions)
    return Decision(action=worst, rulings=tuple(rulings))


def _rule(policy: Policy, use: GateUse, evidence: Evidence, levels: dict[str, float]) -> Ruling:
    params = use.params
    if isinstance(params, Comparing):
        params = params.model_copy(update=levels)
    try:
        verdict = load_gates()[use.gate].check(params, evidence)
    except MissingEvidence as missing:
        verdict = Verdict(outcome=Outcome.MISSING, reason=str(missing))
    except BrokenEvidence as broken:
        verdict = Verdict(outcome=Outcome.ERROR, reason=str(broken))
    except Exception as broken:  # noqa: BLE001  a gate that breaks has not passed
        reason = f"the gate itself failed: {type(broken).__name__}: {broken}"
        verdict = Verdict(outcome=Outcome.ERROR, reason=reason)
    action = _action(policy, use, verdict.outcome)
    return Ruling(gate=use.gate, title=use.title, verdict=verdict, action=action, why=use.why)


def _action(policy: Policy, use: GateUse, outcome: Outcome) -> Action:
    match outcome:
        case Outcome.PASS:
            return Action.PROMOTE
        case Outcome.INCONCLUSIVE:
            unsure = Action(policy.statistics.on_inconclusive)
            # A gate that could only hold on failure does not reject for being unsure.
            return Action.HOLD if use.on_fail is Action.HOLD else unsure
        case Outcome.MISSING if policy.baselines.on_missing == "reject":
            return Action.REJECT
        case _:
            return use.on_fail
