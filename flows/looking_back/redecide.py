"""Deciding a past update again: another policy on the evidence of then.

Pure but for what `Past` already holds. The rules are in flows/backtest.py.
"""

from collections.abc import Sequence

from tidegate.flows.looking_back.history import Past, Ruled
from tidegate.gates.decide import decide, judge, worst
from tidegate.gates.gate import RowParams, load_gates
from tidegate.gates.policy.nouns import GateUse, Policy
from tidegate.gates.types import Action, BrokenEvidence, Decision, MissingEvidence, Ruling

BY_PEOPLE = ("action", "waived", "approved")  # what waivers and approvals change of a ruling


def redecide(past: Past, policy: Policy) -> tuple[Decision, bool]:
    """The decision under a policy, and whether it is one.

    False: the batch would have gone on to training, and what came then is not known; the
    decision then holds the rulings up to there.
    """
    data = _as_people_had_it(judge(policy, past.evidence_data), past, policy)
    others = _made_by_no_gate(past, policy)
    if worst(ruling.action for ruling in data) is not Action.PROMOTE:
        # What came after data gates that let pass would not have come at all.
        return decide([*data, *(others if _stopped_by_its_data(past) else ())]), True
    if past.evidence_model is not None:
        asked = _as_people_had_it(judge(policy, past.evidence_model), past, policy)
        return decide([*data, *asked, *others]), True
    decision = decide([*data, *others])
    return decision, decision.action is not Action.PROMOTE


def evidence_is_of_another(past: Past, policy: Policy) -> str | None:
    """Why the stored evidence says nothing about this policy; None if it does.

    Which records a data gate names, masks or drops was settled when the batch was checked:
    the counts, and the batch that was trained on, are of the policy of then. They are of
    this one too where a gate named no record and would now name fewer still.
    """
    for role in ("champion", "anchor"):
        if getattr(policy.baselines, role) != getattr(past.policy.baselines, role):
            return f"baselines.{role}: it was compared with another model; run it again"
    if not past.batch.rows:
        return None
    now = {use.title: use for use in policy.data}
    for use in past.policy.data:
        other = now.get(use.title)
        if not isinstance(use.params, RowParams) or (other and _treats_alike(use, other)):
            continue
        if not (_named_none(past, use) and (other is None or _names_no_more(use, other))):
            return (
                f"{use.title}: this policy would name other records of the batch, or treat "
                "them otherwise, and the stored counts cannot say which; run `tidegate check` "
                "on the drop"
            )
    return None


def _stopped_by_its_data(past: Past) -> bool:
    gates = {use.title for use in past.policy.data}
    return any(
        ruling.action is not Action.PROMOTE
        for ruling in past.entry.rulings
        if ruling.gate in gates
    )


def _made_by_no_gate(past: Past, policy: Policy) -> list[Ruling]:
    """Rulings of the statement that none of the policy's gates made, as they were.

    What people approved was held, and is held again under a policy that they did not see.
    """
    gates = {use.title for use in (*past.policy.data, *past.policy.model)}
    others = [_as_recorded(ruling) for ruling in past.entry.rulings if ruling.gate not in gates]
    if policy.digest == past.policy.digest:
        return others
    held = {"action": Action.HOLD, "approved": False}
    return [r.model_copy(update=held) if r.approved else r for r in others]


def _as_recorded(ruled: Ruled) -> Ruling:
    return Ruling.model_validate(
        {
            "gate": ruled.gate,
            "title": ruled.gate,
            "verdict": {"outcome": ruled.outcome, "reason": ruled.reason},
            "action": ruled.action,
            "why": "as the statement records it",
            "waived": ruled.waived,
            "approved": ruled.approved,
        }
    )


def _as_people_had_it(rulings: Sequence[Ruling], past: Past, policy: Policy) -> list[Ruling]:
    """With the waivers and approvals that counted then, if it is the policy of then."""
    if policy.digest != past.policy.digest:
        return list(rulings)
    moved = {r.gate: r for r in past.entry.rulings if r.waived or r.approved}
    return [
        ruling.model_copy(
            update={name: getattr(moved[ruling.title], name) for name in BY_PEOPLE}
        )
        if ruling.title in moved
        else ruling
        for ruling in rulings
    ]


def _treats_alike(use: GateUse, other: GateUse) -> bool:
    one, two = use.params, other.params
    return (
        isinstance(one, RowParams)
        and isinstance(two, RowParams)
        and (one.mask, one.quarantine) == (two.mask, two.quarantine)
        and _rules(use) == _rules(other)
        and _rule_file(use) == _rule_file(other)
    )


def _names_no_more(use: GateUse, other: GateUse) -> bool:
    before, after = _rules(use), _rules(other)
    looser = all(name in before and before[name] <= above for name, above in after.items())
    return looser and _rule_file(use) == _rule_file(other)


def _named_none(past: Past, use: GateUse) -> bool:
    counts = ("hits", "left", "quarantined_share")
    try:
        return not any(past.evidence_data[f"data.{use.gate}.{c}"].value for c in counts)
    except (MissingEvidence, BrokenEvidence):
        return False


def _rules(use: GateUse) -> dict[str, float]:
    """Column to the number above which a record is a hit."""
    rows = load_gates()[use.gate].rows
    return {rule.column: rule.above for rule in rows(use.params)} if rows else {}


def _rule_file(use: GateUse) -> object:
    return getattr(use.params, "more_rules", None)
