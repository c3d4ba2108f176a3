"""From a trained candidate to the evidence about it: three models, the same items.

The champion and the anchor are measured once per digest and read from the cache after that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tidegate.evals.harness import Role, SuiteRun
from tidegate.evals.harness import measure as run_suites
from tidegate.evals.suite import Suite
from tidegate.flows.line import Line
from tidegate.flows.serving import probe_serving
from tidegate.gates.types import Broken, Candidate, CandidateEvidence, Measurement, Report
from tidegate.training.base import load_model


@dataclass(frozen=True)
class Measured:
    """The evidence about a candidate, and each suite's run on each model."""

    evidence: CandidateEvidence
    runs: tuple[SuiteRun, ...]


def measure(
    line: Line,
    candidate: Candidate,
    adapter: Path,
    suites: Sequence[Suite],
    progress: Report,
) -> Measured:
    """Run every suite on anchor, champion and candidate, and probe that the candidate serves."""
    measurements: list[Measurement] = []
    broken: list[Broken] = []
    runs: list[SuiteRun] = []
    models: dict[Role, tuple[str, Path | None]] = {
        "anchor": (line.anchor.candidate.digest, line.anchor.adapter),
        "champion": (line.champion.candidate.digest, line.champion.adapter),
        "candidate": (candidate.digest, adapter),
    }
    for role, (digest, folder) in models.items():
        model, tokenizer = load_model(line.base, folder)
        results = run_suites(
            model,
            tokenizer,
            suites,
            model_digest=digest,
            role=role,
            cache=line.home.cache,
            progress=progress,
        )
        measurements += results.measurements
        broken += results.broken
        runs += results.runs
        if role == "candidate":
            good, bad = probe_serving(line.base, adapter, model, tokenizer)
            measurements += good
            broken += bad
    evidence = CandidateEvidence(
        subject=candidate.digest, measurements=tuple(measurements), broken=tuple(broken)
    )
    return Measured(evidence, tuple(runs))
