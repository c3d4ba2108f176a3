"""A home with a past, written by hand: ledger and evidence files as an update leaves them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.looking_back.history import write_evidence
from tidegate.gates.audit import statement
from tidegate.gates.decide import decide, judge
from tidegate.gates.digest import digest_bytes, digest_json
from tidegate.gates.policy.load import load_policy
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.types import (
    Action,
    Batch,
    BatchEvidence,
    CandidateEvidence,
    Decision,
    Measurement,
    Ruling,
)

MODEL = "assistant"
POLICY = """\
policy: past
version: 1
why: a test
data:
  - {gate: fits_schema, min_rows: 20, why: an empty drop is an outage}
  - {gate: no_secrets, quarantine: true, max_quarantined_share: 0.1, why: secrets leak}
  - {gate: no_floods, max_ratio: 2, quarantine: true, why: repetition is not truth}
model:
  - gate: not_worse
    suite: refusal
    than: {champion: 0.1, anchor: 0.2}
    why: refusals may not erode
  - {gate: not_worse, suite: knowledge, than: {champion: 0.1}, on_fail: hold, why: it knew it}
  - {gate: learned, at_least: 0.05, on_fail: hold, why: an update must teach something}
"""


def digest(text: str) -> str:
    return digest_bytes(text.encode())


def data(rows: int = 48, secrets: int = 0, floods: int = 0, kept: int = 0) -> BatchEvidence:
    """What was counted in a batch; `kept` says how many secrets were left in."""
    dropped = secrets + floods - kept
    numbers = {
        "data.kept": rows - dropped,
        "data.unreadable_share": 0.0,
        "data.fits_schema.hits": 0,
        "data.fits_schema.left": 0,
        "data.fits_schema.quarantined_share": 0.0,
        "data.no_secrets.hits": secrets,
        "data.no_secrets.left": kept,
        "data.no_secrets.quarantined_share": (secrets - kept) / rows,
        "data.no_floods.hits": floods,
        "data.no_floods.left": 0,
        "data.no_floods.quarantined_share": floods / rows,
    }
    made = [Measurement(name=name, value=float(v), n=rows) for name, v in numbers.items()]
    return BatchEvidence(subject=digest("batch"), measurements=tuple(made))


def series(name: str, mean: float, n: int = 60, spread: float = 0.1) -> Measurement:
    """Per-item values around a mean, half of the items in each language."""
    values = tuple(mean + spread * ((7 * i) % 11 - 5) / 5 for i in range(n))
    return Measurement(
        name=name,
        value=sum(values) / n,
        n=n,
        items=tuple(f"item-{i}" for i in range(n)),
        values=values,
        slices={"language": tuple("en" if i % 2 else "de" for i in range(n))},
        settings={"task": "1"},
        planned=n,
    )


def model(refusal: float = 0.0, knowledge: float = 0.0, gain: float = 0.5) -> CandidateEvidence:
    """How much the candidate changed on each suite; some items changed more than others."""
    made = []
    for suite, change in (("refusal", refusal), ("knowledge", knowledge)):
        made += [
            series(f"{suite}.margin@{r}", 1.0, spread=0.05) for r in ("champion", "anchor")
        ]
        made.append(series(f"{suite}.margin@candidate", 1.0 + change))
    made.append(series("update.answer_nll@champion", 2.0, spread=0.05))
    made.append(series("update.answer_nll@candidate", 2.0 - gain))
    return CandidateEvidence(subject=digest("candidate"), measurements=tuple(made))


class World:
    """One home, one policy file, and one decided update after another."""

    def __init__(self, folder: Path, text: str = POLICY) -> None:
        self.home = Home(folder / "home")
        self.policy_file = folder / "policy.yaml"
        self.policy_file.write_text(text)
        self.ledger = Ledger(self.home.ledger)

    @property
    def policy(self) -> Policy:
        return load_policy(self.policy_file)

    def folder(self, update: str) -> Path:
        return self.home.updates / update / "evidence"

    def decided(
        self,
        number: int,
        found: BatchEvidence,
        measured: CandidateEvidence | None = None,
        *,
        others: tuple[Ruling, ...] = (),
        waived: dict[str, Action] | None = None,
        days_ago: int = 0,
        stored_as: Any = None,
        recorded: Action | None = None,
    ) -> Decision:
        """Write update `u-number`, decided by the policy as it is now.

        stored_as: what is stored and recorded in place of the data evidence. recorded: an
        action that the statement gives in place of the one decided.
        """
        policy = self.policy
        rulings = [*judge(policy, found)]
        if measured is not None:
            rulings += judge(policy, measured)
        rulings = [_waived(ruling, waived or {}) for ruling in rulings]
        decision = decide([*rulings, *others])
        batch = _batch(int(found["data.fits_schema.hits"].n))
        subjects = {
            "base": digest("base"),
            "batch": batch.digest,
            "policy": policy.digest,
            "evidence/data": digest_json((stored_as or found).model_dump(mode="json")),
        }
        if measured is not None:
            subjects["evidence/model"] = digest_json(measured.model_dump(mode="json"))
        about = {
            "decision_id": f"u-{number}",
            "action": recorded or decision.action,
            "version": str(number),
            "policy": {"name": policy.policy, "version": policy.version},
            "batch": batch.model_dump(mode="json"),
            "rulings": [_said(ruling, recorded) for ruling in decision.rulings],
        }
        when = datetime.now(UTC) - timedelta(days=days_ago)
        written = self.ledger.append(
            statement(
                act="decide",
                model=MODEL,
                subjects=subjects,
                about=about,
                decided_at=when,
            )
        )
        record = self.ledger.find(written)
        assert record is not None
        nouns = {
            "policy": policy,
            "batch": batch,
            "evidence_data": stored_as or found,
            "evidence_model": measured,
        }
        write_evidence(self.folder(f"u-{number}"), nouns, record)
        return decision


def _batch(rows: int) -> Batch:
    return Batch(
        digest=digest("batch"),
        rows=rows,
        read=rows,
        unreadable=0,
        without_consent=0,
        duplicates=0,
    )


def _waived(ruling: Ruling, waived: dict[str, Action]) -> Ruling:
    if ruling.title not in waived:
        return ruling
    return ruling.model_copy(
        update={"action": waived[ruling.title], "waived": digest("a waiver")}
    )


def _said(ruling: Ruling, recorded: Action | None) -> dict[str, Any]:
    """As flows/publish.py writes it."""
    verdict = ruling.verdict
    return {
        "gate": ruling.title,
        "outcome": verdict.outcome,
        "action": recorded or ruling.action,
        "observed": None if verdict.observed is None else repr(verdict.observed),
        "limit": None if verdict.limit is None else repr(verdict.limit),
        "reason": verdict.reason,
        "waived": ruling.waived,
    }
