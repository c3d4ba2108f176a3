"""What measuring cost, by the gate that asked for it."""

from dataclasses import dataclass

from tidegate.evals.harness import SuiteRun
from tidegate.evals.probes.probe import ProbeRun
from tidegate.flows.measure import Measured
from tidegate.gates.policy.nouns import Policy


@dataclass(frozen=True)
class Cost:
    """What one gate's suites and probes cost over all models; a suite may serve several gates.

    Only what was asked now: runs kept from earlier cost nothing and are counted in `kept`.
    """

    gate: str  # the title of its ruling
    items: int
    tokens: int
    seconds: float
    runs: int
    kept: int


def costs(policy: Policy, measured: Measured) -> tuple[Cost, ...]:
    """The gates of a policy that read a suite or a probe, the dearest first."""
    found = []
    for use in policy.model:
        suites, probes = set(use.params.suites()), set(use.params.probes())
        runs: list[SuiteRun | ProbeRun] = [
            *(run for run in measured.runs if run.suite in suites),
            *(run for run in measured.probed if run.probe in probes),
        ]
        fresh = [run for run in runs if not run.cached]
        if runs:
            found.append(
                Cost(
                    gate=use.title,
                    items=sum(run.items for run in fresh),
                    tokens=sum(run.tokens for run in fresh),
                    seconds=sum(run.seconds for run in fresh),
                    runs=len(runs),
                    kept=len(runs) - len(fresh),
                )
            )
    return tuple(sorted(found, key=lambda cost: -cost.seconds))
