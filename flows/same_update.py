"""When two runs of `update` are the same update: one question, one id, one decision."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tidegate.evals.suite import Suite
from tidegate.flows.finishing import result_of, result_of_learned
from tidegate.flows.line import Line
from tidegate.flows.one_update import UpdateResult
from tidegate.flows.provenance import code_digest
from tidegate.flows.quarantining.releases import in_force
from tidegate.flows.trusting.store import Trusted
from tidegate.gates.digest import digest_json
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.types import Batch
from tidegate.training.recipe import Recipe


def update_id(
    line: Line,
    batch: Batch,
    policy: Policy,
    recipe: Recipe,
    suites: Sequence[Suite],
    probes: str | None,
    trusted: Trusted | None,
    merged: Sequence[str] = (),
) -> str:
    """The same question has the same id: what was decided once is found again.

    merged: versions that the update takes the place of.
    """
    asked: dict[str, Any] = {
        "model": line.name,
        "champion": line.champion.version,
        "parent": line.champion.candidate.digest,
        "batch": batch.digest,
        "policy": policy.digest,
        "recipe": recipe.digest,
        "suites": [suite.digest for suite in suites],
        "probes": Path(probes).read_text(encoding="utf-8") if probes else None,
        "trusted": trusted.calibration if trusted else None,
        "code": code_digest(),
    }
    if merged:
        asked["merged"] = list(merged)
    releases = in_force(line.home, batch.digest, policy, datetime.now(UTC))
    if releases:  # records released since are another question
        asked["releases"] = releases
    return f"u-{short_hex(asked)}"


def decided_before(line: Line, batch: Batch, work: Path) -> UpdateResult | None:
    """What the same update came to, or the one by which the champion learned this batch.

    Learning a batch a second time would weigh its rows double without saying so.
    """
    learned = dict(zip(reversed(line.lineage()), reversed(line.past_updates()), strict=True))
    found = result_of(line.home, work.name)
    if found is None and batch.digest in learned:
        found = result_of_learned(line.registry, line.home, learned[batch.digest])
    return None if found is None else found.model_copy(update={"repeated": True})


def short_hex(value: Any) -> str:
    """Twenty hexadecimal digits of the value's digest, for names of folders."""
    return digest_json(json.loads(json.dumps(value)))[7:27]
