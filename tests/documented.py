"""A decided update with a fixed statement, whose documents are the same in every run."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.past import POLICY, data, digest, model
from tidegate.flows.documents.account import Account, account_of
from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.looking_back.history import write_evidence
from tidegate.flows.provenance import Environment
from tidegate.flows.publish import _ruling as said
from tidegate.flows.registry import BaseCard
from tidegate.gates.audit import statement
from tidegate.gates.conditions import Facts, within_envelope
from tidegate.gates.decide import decide, judge
from tidegate.gates.digest import digest_json
from tidegate.gates.policy.load import load_policy
from tidegate.gates.types import Action, Batch, CandidateEvidence
from tidegate.training.recipe import Recipe

MODEL = "support"
WHEN = datetime(2026, 11, 9, 12, 0, tzinfo=UTC)
ENVELOPE = """\
envelope:
  recipe: {methods: [lora, replay], rank: "<=32"}
  data: {sources: [chat], rows: "20..5000", replay_share: "<=1"}
"""
BASE = BaseCard(name="small-model", digest=digest("base"), license="Apache-2.0")
RECIPE = Recipe(
    recipe="small", why="a test", base="small-model", method="lora", rank=8, alpha=16.0,
    targets=("q_proj",), learning_rate=0.0002, epochs=2, rows_per_step=8, max_tokens=256, seed=7,
)  # fmt: skip
ENVIRONMENT = Environment(
    python="3.11.9", packages=("numpy==2.3.0", "torch==2.13.0+cpu", "typing_extensions==4.15.0")
)
DIGEST = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{64}")


class World:
    """One home with the updates that were decided in it."""

    def __init__(self, folder: Path, policy: str = POLICY + ENVELOPE) -> None:
        self.home = Home(folder / "home")
        self.ledger = Ledger(self.home.ledger)
        path = folder / "policy.yaml"
        path.write_text(policy, encoding="utf-8")
        self.policy = load_policy(path)

    def evidence(self, number: int) -> Path:
        return self.home.updates / f"u-{number}" / "evidence"

    def decided(
        self,
        number: int = 2,
        measured: CandidateEvidence | None = None,
        *,
        name: str = MODEL,
        more: dict[str, Any] | None = None,
    ) -> str:
        """Write update `u-number`, as version `number`; returns its statement's digest.

        more: what else the statement says about it, or says otherwise.
        """
        counted = data()
        rulings = [*judge(self.policy, counted)]
        batch = Batch(
            digest=digest("batch"), rows=48, read=60, unreadable=1, without_consent=8,
            duplicates=3, sources={"chat": 48},
        )  # fmt: skip
        subjects = {
            "base": BASE.digest,
            "batch": batch.digest,
            "recipe": RECIPE.digest,
            "policy": self.policy.digest,
            "code": digest("code"),
            "environment": ENVIRONMENT.digest,
            "evidence/data": digest_json(counted.model_dump(mode="json")),
        }
        if measured is not None:
            facts = Facts(
                base=BASE.digest, method="lora", rank=8, alpha=16.0, learning_rate=0.0002,
                epochs=2, sources=("chat",), rows=48, replay_share=0.25,
            )  # fmt: skip
            judged = within_envelope(self.policy, facts)
            rulings += [*judge(self.policy, measured), *([judged] if judged else [])]
            subjects |= {
                "adapter": digest("candidate"),
                "adapter/adapter_config.json": digest("configuration"),
                "adapter/adapter_model.safetensors": digest("weights"),
                "evidence/model": digest_json(measured.model_dump(mode="json")),
            }
        decision = decide(rulings)
        about = {
            "decision_id": f"u-{number}",
            "update_id": f"u-{number}",
            "action": decision.action,
            "version": str(number),
            "parent": "1",
            "requester": "rita",
            "policy": {"name": self.policy.policy, "version": self.policy.version},
            "batch": batch.model_dump(mode="json"),
            "quarantined": 0,
            "rulings": [said(ruling) for ruling in decision.rulings],
            "replay": {"rows": 12, "by_batch": {digest("older"): 12}},
            "adapter_key": digest("key"),
            **(more or {}),
        }
        record = statement(
            act="decide", model=name, subjects=subjects, about=about, decided_at=WHEN
        )
        written = self.ledger.append(record)
        nouns = {
            "policy": self.policy,
            "recipe": RECIPE,
            "evidence_data": counted,
            "evidence_model": measured,
            "environment": ENVIRONMENT,
        }
        write_evidence(self.evidence(number), nouns, record)
        return written

    def account(self, number: int = 2, name: str = MODEL, base: BaseCard = BASE) -> Account:
        return account_of(self.home, name, str(number), base)


def waived(world: World) -> None:
    """A held update, then decided again with a waiver."""
    held = world.decided(2, model(gain=0.0))
    first = world.ledger.find(held)
    assert first is not None
    about = first["predicate"]["about"]
    gate = "learned(update.answer_nll)"
    counted = {
        "digest": digest("a waiver"),
        "gate": gate,
        "reason": "the suite asks about a withdrawn product",
        "ticket": "OPS-1",
        "requester": "dora",
        "signers": ["ada", "bob"],
        "expires": "2026-11-11T12:00:00Z",
    }
    rulings = [
        {**r, "action": "promote", "waived": counted["digest"]} if r["gate"] == gate else r
        for r in about["rulings"]
    ]
    again = {
        "decision_id": "u-2 + waiver", "update_id": "u-2", "action": Action.PROMOTE,
        "rulings": rulings, "waivers": [counted], "supersedes": held,
    }  # fmt: skip
    world.decided(2, model(gain=0.0), more=again)


def numbered(text: str) -> str:
    """The text with every digest and serial number as its number of appearance.

    A digest names what it is over, and so changes with each setting that a policy gains.
    """
    found: dict[str, str] = {}
    return DIGEST.sub(lambda m: found.setdefault(m[0], f"DIGEST-{len(found) + 1}"), text)
