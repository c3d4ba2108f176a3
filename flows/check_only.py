"""`tidegate check`: ingest and every data gate, without training or registering anything."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tidegate.evals.suite import find_suites
from tidegate.flows.check import Checked, check, decision_document
from tidegate.flows.home import Home
from tidegate.flows.ingest import ingest
from tidegate.flows.intake.pseudonym import pseudonym_key
from tidegate.flows.progress import report
from tidegate.flows.reviewing.present import data_summary
from tidegate.flows.reviewing.report import render_check
from tidegate.flows.rules import read_policy, require_extras
from tidegate.flows.trusting.store import load_trusted
from tidegate.gates.types import Action, Batch, Decision

CODES = {Action.PROMOTE: 0, Action.REJECT: 1, Action.HOLD: 2}


@dataclass(frozen=True)
class Seen:
    """What a check came to, and the folder that says so."""

    batch: Batch
    checked: Checked
    decision: Decision
    document: dict[str, Any]
    out: Path

    @property
    def exit_code(self) -> int:
        if self.decision.action is not Action.PROMOTE and self.decision.evidence_is_broken:
            return 4
        return CODES[self.decision.action]


def check_drops(
    drops: Sequence[str],
    policy_path: Path,
    home: Home,
    out: Path,
    *,
    emit_kept: bool,
    defaults: Mapping[str, str],
    floor: Path | None = None,
    trusted: str | None = None,
    engine: str | None = None,
) -> Seen:
    """Judge drops by the data gates of a policy and write the report into `out`."""
    policy = read_policy(policy_path, floor)
    require_extras(policy)
    known = load_trusted(home, trusted) if trusted else None
    out.mkdir(parents=True, exist_ok=True)
    batch = ingest(
        drops,
        home=home,
        out=out,
        pseudonym_key=pseudonym_key(home),
        defaults=defaults,
        progress=report,
    )
    protected = [text for suite in find_suites() for text in suite.texts()]
    checked = check(
        batch,
        policy,
        home=home,
        arrived=out,
        out=out,
        protected=protected,
        trusted=known,
        emit_kept=emit_kept,
        engine=engine,
        progress=report,
    )
    document = decision_document(checked.decision, policy, batch, checked.quarantined)
    page = render_check(
        decision=checked.decision,
        policy=policy,
        batch=batch,
        data=data_summary(checked),
        decided_at=datetime.now(UTC),
        data_docs="data_docs/index.html" if checked.docs else None,
    )
    (out / "index.html").write_text(page, encoding="utf-8")
    return Seen(batch, checked, checked.decision, document, out)
