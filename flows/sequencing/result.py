"""What one arm did on one sequence, item by item. Numbers and names only."""

from typing import Literal

from pydantic import Field

from tidegate.evals.sequence.drift import Drift
from tidegate.evals.sequence.metrics import Matrix
from tidegate.flows.sequencing.arms import Kind
from tidegate.gates.types import Digest, Noun

Score = Literal["margin", "loglik", "acc"]
UNITS: dict[Score, str] = {
    "margin": "nats a token, right answer minus the likeliest wrong one",
    "loglik": "nats a token of the right answer",
    "acc": "share of probes answered right",
}


class Answered(Noun):
    """The held-out probes of one update, as one model answered them."""

    items: tuple[str, ...]
    slices: tuple[str, ...]
    margin: tuple[float, ...] = Field(description="right minus likeliest wrong, nats a token")
    loglik: tuple[float, ...] = Field(description="of the right answer, nats a token")

    def mean(self, score: Score, slice_: str | None = None) -> float:
        """The mean over all items, or over those of one slice."""
        values = [
            self._value(score, i)
            for i, name in enumerate(self.slices)
            if slice_ is None or name == slice_
        ]
        return sum(values) / len(values)

    def _value(self, score: Score, i: int) -> float:
        if score == "acc":
            return float(self.margin[i] > 0)
        return self.margin[i] if score == "margin" else self.loglik[i]


class Cost(Noun):
    """Of one update. Seconds of training alone, on the machine that the results name."""

    seconds: float
    tokens: int
    steps: int


class State(Noun):
    """A model of the sequence: after how many updates, and what it answers."""

    updates: int = Field(ge=0)
    model: Digest
    probes: tuple[Answered, ...] = Field(min_length=1, description="by update")
    text: Drift | None = Field(default=None, description="none: nothing was trained")
    refusal: tuple[float, ...] = Field(
        default=(), description="margin of declining, nats a token, item by item"
    )
    cost: Cost | None = None


class ArmResult(Noun):
    """One arm on one sequence. `states` begin with the origin."""

    arm: str
    kind: Kind
    seed: int
    recipe: Digest | None
    data: Digest
    states: tuple[State, ...] = Field(min_length=2)

    @property
    def origin(self) -> State:
        return self.states[0]

    @property
    def last(self) -> State:
        return self.states[-1]

    def scores(self, score: Score, slice_: str | None = None) -> Matrix:
        """R[t][i]: after update t, on the probes of update i; for `sequential` arms."""
        return [
            [answered.mean(score, slice_) for answered in state.probes]
            for state in self.states[1:]
        ]

    def before(self, score: Score, slice_: str | None = None) -> list[float]:
        """What the origin scores on each update's probes."""
        return [answered.mean(score, slice_) for answered in self.origin.probes]
