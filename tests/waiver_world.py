"""A home with one model line, reviewers with keys, and updates that were judged but not trained."""

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from securesystemslib.signer import CryptoSigner

from tidegate.flows.check import Checked
from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.line import Line
from tidegate.flows.measure import Measured
from tidegate.flows.one_update import Update, UpdateResult
from tidegate.flows.publish import publish
from tidegate.flows.registry import Registry
from tidegate.flows.replay_store import Draw
from tidegate.flows.scaling import Scaled
from tidegate.flows.signing.keys import load_signer, new_key, reviewer_line
from tidegate.gates.audit import statement
from tidegate.gates.decide import decide, judge
from tidegate.gates.digest import digest_bytes
from tidegate.gates.policy.load import load_policy
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.types import (
    Batch,
    BatchEvidence,
    Candidate,
    CandidateEvidence,
    Measurement,
    ignore_progress,
)
from tidegate.training.adapter_digest import adapter_digest
from tidegate.training.base import Base
from tidegate.training.recipe import load_recipe
from tidegate.training.trained import Counts, Trained

NOW = datetime(2026, 11, 9, 12, 0, tzinfo=UTC)
REFUSAL, HONESTY = "not_worse(refusal.margin)", "not_worse(honesty.margin)"
LEARNED, SCHEMA = "learned(update.answer_nll)", "fits_schema"
POLICY = """\
policy: test
version: 1
why: a test
data:
  - {gate: fits_schema, why: a test}
model:
  - {gate: not_worse, suite: refusal, than: {champion: 0.1}, on_fail: reject, why: a test}
  - {gate: not_worse, suite: honesty, than: {champion: 0.1}, locked: true, why: a test}
  - {gate: learned, at_least: 0.05, on_fail: hold, why: a test}
approval: {APPROVAL, reviewers: reviewers.yaml}
"""
# ada and bob may sign waivers; carl is a reviewer in another role; eve is nobody.
ROLES = {"ada": "model-reviewer", "bob": "model-reviewer", "carl": "auditor"}
BASE = digest_bytes(b"base")


class People:
    """Keys of some people, and a policy that knows most of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.signers: dict[str, CryptoSigner] = {}
        lines = ["reviewers:"]
        for name in [*ROLES, "eve"]:
            public = new_key(folder / f"{name}.pem")
            self.signers[name] = load_signer(folder / f"{name}.pem", str)
            if name in ROLES:
                lines.append(reviewer_line(name, public, [ROLES[name]]))
        (folder / "reviewers.yaml").write_text("\n".join(lines) + "\n")

    def policy(self, approval: str = "quorum: 1, valid_for: 72h") -> Policy:
        path = self.folder / f"{digest_bytes(approval.encode())[7:15]}.yaml"
        path.write_text(POLICY.replace("APPROVAL", approval))
        return load_policy(path)


def series(name: str, level: float) -> Measurement:
    values = tuple(level + 0.1 * ((7 * i) % 11 - 5) / 5 for i in range(40))
    return Measurement(
        name=name,
        value=sum(values) / 40,
        n=40,
        items=tuple(f"item-{i}" for i in range(40)),
        values=values,
        settings={"prompts": "same"},
    )


def model_evidence(subject: str, changes: Mapping[str, float]) -> CandidateEvidence:
    """`changes`: of refusal, honesty and gain, against the champion; None is never measured."""
    found = []
    for suite in ("refusal", "honesty"):
        if suite in changes:
            found += [
                series(f"{suite}.margin@champion", 1.0),
                series(f"{suite}.margin@candidate", 1.0 + changes[suite]),
            ]
    found += [
        series("update.answer_nll@champion", 2.0),
        series("update.answer_nll@candidate", 2.0 - changes.get("gain", 0.5)),
    ]
    return CandidateEvidence(subject=subject, measurements=tuple(found))


def data_evidence(subject: str, kept: float = 5.0) -> BatchEvidence:
    numbers = {
        "data.kept": kept,
        "data.unreadable_share": 0.0,
        "data.fits_schema.hits": 0.0,
        "data.fits_schema.left": 0.0,
        "data.fits_schema.quarantined_share": 0.0,
    }
    made = tuple(Measurement(name=n, value=v, n=5) for n, v in numbers.items())
    return BatchEvidence(subject=subject, measurements=made)


class World(People):
    """A home whose line "m" has a blessed base, and whatever `update` adds."""

    def __init__(self, folder: Path, empty_database: Path) -> None:
        folder.mkdir(exist_ok=True)
        super().__init__(folder)
        self.home = Home(folder / "home")
        self.home.root.mkdir()
        shutil.copy(empty_database, self.home.mlflow_database)
        self.registry, self.ledger = Registry.open(self.home), Ledger(self.home.ledger)
        blessed = self.ledger.append(
            statement(
                act="bless",
                model="m",
                subjects={"base": BASE},
                about={"decision_id": "bless", "action": "promote", "reason": "a test"},
                decided_at=NOW,
            )
        )
        self.registry.bless_base("m", "tiny", BASE, "Apache-2.0", statement=blessed)

    @property
    def aliases(self) -> dict[str, str]:
        return self.registry.aliases("m")

    def line(self) -> Line:
        champion, anchor = self.registry.champion("m"), self.registry.anchor("m")
        assert champion is not None and anchor is not None
        base = Base(name="tiny", digest=BASE, folder=self.folder, license="Apache-2.0")
        return Line("m", self.home, base, self.registry, self.ledger, champion, anchor)

    def update(
        self,
        name: str,
        policy: Policy | None = None,
        *,
        kept: float = 5.0,
        requester: str = "rita",
        **changes: float,
    ) -> UpdateResult:
        """Publish an update as the flow does, from evidence made up here."""
        line, rules = self.line(), policy or self.policy()
        batch = Batch(
            digest=digest_bytes(name.encode()), rows=5, read=5, unreadable=0,
            without_consent=0, duplicates=0,
        )  # fmt: skip
        recipe = load_recipe(
            Path(__file__).parents[1] / "policies" / "recipes" / "anchored.yaml"
        )
        update = Update.begin(line, self.home.updates / name, batch, rules, recipe, requester)
        checked = self._checked(update, rules, kept)
        if kept < 1:
            return publish(update.refused(checked), NOW, ignore_progress)
        adapter = self.folder / "adapters" / name
        adapter.mkdir(parents=True)
        (adapter / "adapter_model.safetensors").write_bytes(name.encode())
        (adapter / "adapter_config.json").write_text("{}")
        candidate = Candidate(
            base=BASE,
            adapter=adapter_digest(adapter),
            batch=batch.digest,
            recipe=recipe.digest,
            parent=line.champion.version,
        )
        evidence = model_evidence(
            candidate.digest, {"refusal": 0.0, "honesty": 0.0, "gain": 0.5, **changes}
        )
        decision = decide([*checked.rulings, *judge(rules, evidence)])
        trained = _trained(adapter, candidate.digest)
        measured = Measured(evidence, (), "every suite was measured whole")
        scaled = Scaled(trained, candidate, measured, (measured,))
        judged = update.judged(checked, Draw(None, 0, {}, 0), scaled, decision, ())
        return publish(judged, NOW, ignore_progress)

    def _checked(self, update: Update, policy: Policy, kept: float) -> Checked:
        rows = update.work / "check" / "kept.parquet"
        rows.parent.mkdir(parents=True)
        kept_rows = {"id": ["a", "b"], "user": ["u_a", "u_b"], "learn": ["target"] * 2}
        pq.write_table(pa.table(kept_rows), rows)
        evidence = data_evidence(update.batch.digest, kept)
        rulings = judge(policy, evidence)
        return Checked(
            evidence=evidence,
            rulings=rulings,
            decision=decide(rulings),
            kept=rows,
            rows=5,
            masked=0,
            quarantined=0,
            refused=frozenset(),
            gates=(),
            docs=None,
        )


def _trained(adapter: Path, digest: str) -> Trained:
    return Trained(
        adapter=adapter,
        digest=digest,
        inputs=digest,
        steps=1,
        tokens=1,
        seconds=1.0,
        packed=True,
        history=(),
        counts=Counts(rows={}, seen={}, answer_tokens={}, skipped={}, truncated=0),
    )


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow takes seconds to make its tables; every test starts from a copy of them."""
    home = Home(tmp_path_factory.mktemp("empty"))
    Registry.open(home)
    return home.mlflow_database


@pytest.fixture
def world(tmp_path: Path, empty_database: Path) -> World:
    return World(tmp_path / "world", empty_database)
