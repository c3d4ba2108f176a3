"""What an update may cost, watched while it runs.

Every long stage reports its progress many times a minute, so that is where the clock is
looked at: an update that is out of time stops at the next report instead of at its end.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from tidegate.flows.measure import SPENT, Measured
from tidegate.gates.conditions import Spent
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.types import Progress, Report
from tidegate.training.base import device_and_dtype
from tidegate.training.trained import Trained


class OutOfBudget(Exception):
    """The wall time that the policy gives an update is over."""


@dataclass(frozen=True)
class Purse:
    """The policy's budget, and when the update began to spend it (monotonic seconds)."""

    began: float
    wall: float | None

    @classmethod
    def of(cls, policy: Policy) -> "Purse":
        return cls(time.monotonic(), policy.budget.wall)

    def watching(self, report: Report) -> Report:
        """The same report; it raises OutOfBudget once the time is over."""

        def watched(progress: Progress) -> None:
            report(progress)
            seconds = time.monotonic() - self.began
            if self.wall is not None and seconds > self.wall:
                raise OutOfBudget(
                    f"{progress.stage} was stopped after {seconds:.0f} s; the policy's "
                    f"budget.wall is {self.wall:.0f} s"
                )

        return watched

    def spent(self, trained: Trained, measured: Sequence[Measured]) -> Spent:
        """measured: every share of the update that was tried."""
        seconds = trained.seconds * trained.processes  # each has a GPU of its own
        for one in measured:
            seconds += sum(run.seconds for run in one.runs if not run.cached)
            seconds += sum(run.seconds for run in one.probed if not run.cached)
        device, _ = device_and_dtype()
        return Spent(
            wall=time.monotonic() - self.began,
            eval_items=int(sum(one.evidence[SPENT].value for one in measured)),
            gpu_hours=seconds / 3600 if device == "cuda" else 0.0,
        )
