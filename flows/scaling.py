"""Certified scaling in an update: try the recipe's shares, largest first, until one passes.

Every share is a whole candidate: an adapter of its own (training/blend.py: the champion's, plus
that share of what training changed), measured by the same gates on the same items. Champion
and anchor are measured once. If no share passes, the largest stands as the candidate, so that
what is reported does not depend on which failure looked best.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tidegate.flows.measure import Measured
from tidegate.gates.decide import judge
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.scaling import Tried, scale_ruling, split, tried
from tidegate.gates.types import Action, Candidate, Ruling
from tidegate.training.trained import Trained


@dataclass(frozen=True)
class Scaled:
    """The share that stands: its adapter, its evidence, and what was tried."""

    trained: Trained
    candidate: Candidate
    measured: Measured
    every: tuple[Measured, ...]  # of all shares, for what they cost
    tried: tuple[Tried, ...] = ()
    ruling: Ruling | None = None


Measure = Callable[[Policy, Candidate, Trained], Measured]


def measure_scaled(
    scales: tuple[float, ...] | None,
    policy: Policy,
    candidate: Candidate,
    trained: Trained,
    parent: Path | None,
    work: Path,
    measure: Measure,
) -> Scaled:
    """Measure the candidate, or the largest of its shares that passes every model gate.

    Raises BaseError if a share cannot be made or measured.
    """
    if scales is None:
        measured = measure(policy, candidate, trained)
        return Scaled(trained, candidate, measured, (measured,))
    from tidegate.training.blend import blend  # torch and peft: only where it is used

    strict = split(policy, len(scales))
    found: list[tuple[Trained, Candidate, Measured, Tried]] = []
    for scale in scales:
        made = blend(parent, trained.adapter, scale, work / f"{scale:g}")
        share = trained.model_copy(
            update={
                "adapter": made.adapter,
                "digest": made.digest,
                "after": {**trained.after, "scale": scale, "scale.error": made.error},
            }
        )
        subject = candidate.model_copy(update={"adapter": made.digest})
        measured = measure(strict, subject, share)
        said = tried(scale, made.digest, made.error, judge(strict, measured.evidence))
        found.append((share, subject, measured, said))
        if said.action is Action.PROMOTE:
            break
    every = tuple(one[-1] for one in found)
    standing = found[-1] if every[-1].action is Action.PROMOTE else found[0]
    return Scaled(
        standing[0],
        standing[1],
        standing[2],
        tuple(one[2] for one in found),
        every,
        scale_ruling(policy, standing[3], every, len(scales)),
    )
