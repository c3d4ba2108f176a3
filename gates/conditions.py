"""What a policy asks of an update besides its gates: envelope, budget, proof, approval.

Each gives a ruling like a gate's, or None where the policy does not ask. None of them can
make a decision better: they promote what is in order, and hold or reject what is not.
"""

from pydantic import Field

from tidegate.gates.policy.nouns import Envelope, Policy
from tidegate.gates.policy.proof import ProofRecord
from tidegate.gates.policy.values import Range
from tidegate.gates.types import Action, Digest, Noun, Outcome, Ruling, Verdict


class Facts(Noun):
    """What an update is, as the envelope asks about it."""

    base: Digest
    method: str
    rank: int | None = Field(description="None: the adapter is no LoRA")
    alpha: float | None
    learning_rate: float
    epochs: int
    sources: tuple[str, ...] = Field(description="of the batch, as ingested")
    rows: int = Field(description="records that would be learned, without replayed ones")
    replay_share: float = Field(description="replayed rows for each new row, as drawn")


class Spent(Noun):
    """What an update cost so far."""

    wall: float = Field(ge=0, description="seconds since it began")
    eval_items: int = Field(ge=0, description="items that the candidate answered")
    gpu_hours: float = Field(ge=0)


def within_envelope(policy: Policy, facts: Facts) -> Ruling | None:
    """Whether the update is one that needs no person (AI Act, Annex IV 2(f))."""
    if policy.envelope is None:
        return None
    outside = _outside(policy.envelope, facts)
    return _ruling(
        "envelope",
        Outcome.FAIL if outside else Outcome.PASS,
        "; ".join(outside) or "base, recipe and data are inside the envelope",
        Action(policy.envelope.outside),
        "what was agreed to run without a person has limits",
    )


def _outside(envelope: Envelope, facts: Facts) -> list[str]:
    found = []
    if envelope.base is not None and facts.base != envelope.base.digest:
        found.append(f"the base is {facts.base}, not {envelope.base.digest}")
    methods, sources = envelope.recipe.methods, envelope.data.sources
    if methods is not None and facts.method not in methods:
        found.append(f"the method {facts.method!r} is not one of {', '.join(methods)}")
    if sources is not None:
        strange = [source for source in facts.sources if source not in sources]
        # Named by count only: the name of a source comes from the drop.
        if strange:
            found.append(f"{len(strange)} sources are not among {', '.join(sources)}")
    limits: tuple[tuple[str, Range | None, float | None], ...] = (
        ("rank", envelope.recipe.rank, facts.rank),
        ("alpha", envelope.recipe.alpha, facts.alpha),
        ("learning_rate", envelope.recipe.learning_rate, facts.learning_rate),
        ("epochs", envelope.recipe.epochs, facts.epochs),
        ("rows", envelope.data.rows, facts.rows),
        ("replay_share", envelope.data.replay_share, facts.replay_share),
    )
    for name, allowed, value in limits:
        if allowed is None:
            continue
        # A limit of something that this adapter does not have does not let it through.
        if value is None:
            found.append(f"{name} is limited to {allowed}, and the method has none")
        elif value not in allowed:
            found.append(f"{name} {value:g} is outside {allowed}")
    return found


def within_budget(policy: Policy, spent: Spent) -> Ruling | None:
    """Whether the update cost no more than the policy gives it."""
    budget = policy.budget
    limits = (
        ("seconds of wall time", budget.wall, spent.wall),
        ("items answered", budget.eval_items, spent.eval_items),
        ("GPU hours", budget.gpu_hours, spent.gpu_hours),
    )
    asked = [(what, limit, value) for what, limit, value in limits if limit is not None]
    if not asked:
        return None
    over = [
        f"{value:.4g} {what}, and {limit:g} were given"
        for what, limit, value in asked
        if not value <= limit
    ]
    within = ", ".join(f"{value:.4g} of {limit:g} {what}" for what, limit, value in asked)
    return _ruling(
        "budget",
        Outcome.FAIL if over else Outcome.PASS,
        "; ".join(over) or within,
        Action.HOLD,
        "an update that costs more than planned is not the one that was planned",
    )


def is_proved(policy: Policy, record: ProofRecord | None) -> Ruling | None:
    """Whether this very policy was seen to block what it must block."""
    if policy.proof is None or not policy.proof.required:
        return None
    outcome, reason = Outcome.PASS, ""
    if record is None:
        outcome = Outcome.MISSING
        reason = "the policy was never proved; run `tidegate policy prove`"
    elif record.policy != policy.digest:
        outcome = Outcome.MISSING
        reason = "the policy changed since it was proved; run `tidegate policy prove` again"
    elif not record.covers(policy.proof.must_block, policy.proof.must_pass):
        outcome = Outcome.FAIL
        reason = "a planted case of the proof did not come out as it must"
    else:
        reason = f"all {len(record.cases)} planted cases came out as they must"
    return _ruling(
        "proof",
        outcome,
        reason,
        Action.HOLD,
        "a gate that was never seen to block is decoration",
    )


def needs_approval(policy: Policy) -> Ruling | None:
    """Where the policy lets no update through without people, it waits for them."""
    if policy.approval.when != "always":
        return None
    who = " or ".join(policy.approval.roles)
    return _ruling(
        "approval",
        Outcome.INCONCLUSIVE,
        f"waits for {policy.approval.quorum} of {who}",
        Action.HOLD,
        "the policy asks for a person's decision on every update",
    )


def _ruling(name: str, outcome: Outcome, reason: str, otherwise: Action, why: str) -> Ruling:
    return Ruling(
        gate=name,
        title=name,
        verdict=Verdict(outcome=outcome, reason=reason),
        action=Action.PROMOTE if outcome is Outcome.PASS else otherwise,
        why=why,
    )
