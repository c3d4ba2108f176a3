"""The nouns of the product, in the order in which a run makes them.

Every noun is frozen, refuses fields it does not know, and refuses NaN and infinity:
a number that cannot be compared with a limit must never reach a gate.
"""

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]


class Noun(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Action(StrEnum):
    """What happens to the candidate, from best to worst."""

    PROMOTE = "promote"
    HOLD = "hold"
    REJECT = "reject"


class Outcome(StrEnum):
    """What one gate says. A gate is named for what must hold, so PASS is always good."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"  # measured, but too uncertain to say
    MISSING = "missing"  # a measurement that the gate needs was never made
    ERROR = "error"  # the measurement or the gate itself broke


class Message(Noun):
    role: Literal["system", "user", "assistant", "tool"]
    content: str


class Feedback(Noun):
    """What the user said of the answer. A correction becomes the target of training."""

    rating: Literal["up", "down"] | None = None
    correction: str | None = None
    comment: str | None = None


class Record(Noun):
    """One exchange as the deployment handed it over.

    `user` is the author's pseudonym once a record has been ingested, never the name that
    came in. The last assistant message, or the correction if there is one, is what would
    be learned.
    """

    id: str = Field(min_length=1, max_length=256)
    time: AwareDatetime
    source: str = Field(min_length=1, max_length=256)
    user: str = Field(min_length=1, max_length=256)
    messages: tuple[Message, ...] = Field(min_length=1)
    consent: bool
    feedback: Feedback = Feedback()
    model: str | None = None
    language: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    valid_from: AwareDatetime | None = None
    valid_until: AwareDatetime | None = None
    signature: str | None = Field(
        default=None, min_length=1, max_length=512, description="of the serving gateway"
    )

    @model_validator(mode="after")
    def _has_an_answer(self) -> Self:
        if self.messages[-1].role != "assistant":
            raise ValueError("the last message must be the assistant's: it is what is learned")
        if not any(m.role == "user" for m in self.messages):
            raise ValueError("there is no user message: nothing asked for the answer")
        return self


class Batch(Noun):
    """The consenting, distinct records of one or more drops, and the digest that names them.

    The records themselves are columns in a Parquet file named by the digest; the digest
    does not depend on the order in which they arrived.
    """

    digest: Digest
    rows: int = Field(ge=0)
    read: int = Field(ge=0, description="rows seen, readable or not")
    unreadable: int = Field(ge=0)
    without_consent: int = Field(ge=0)
    duplicates: int = Field(ge=0, description="rows with the id and content of an earlier row")
    sources: dict[str, int] = Field(default_factory=dict, description="rows by source")
    first: datetime | None = Field(default=None, description="time of the earliest record")
    last: datetime | None = Field(default=None, description="time of the latest record")


class Candidate(Noun):
    """The pinned base plus one adapter, continued from the champion's."""

    base: Digest
    adapter: Digest | None = Field(description="none: the base model itself")
    batch: Digest | None = None
    recipe: Digest | None = None
    parent: str | None = Field(default=None, description="version that it continues from")

    @property
    def digest(self) -> Digest:
        """What names the weights that would serve."""
        return self.adapter or self.base


class Measurement(Noun):
    """One number, how sure it is, and the per-item values behind it.

    `settings` names, each by itself, everything that must be equal before two measurements
    may be compared: task version, prompts, few-shot setting, dtype, batch size, scorer.
    Items stand in the order in which they were measured. `planned` is how many the suite
    has: fewer items than that are a measurement that stopped early.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int = Field(ge=0)
    items: tuple[str, ...] = ()
    values: tuple[float, ...] = ()
    slices: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="labels of the items, by what they are sliced by"
    )
    settings: dict[str, str] | None = None
    planned: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _items_name_values(self) -> Self:
        if len(self.items) != len(self.values):
            raise ValueError(
                f"{self.name}: {len(self.items)} items for {len(self.values)} values"
            )
        if len(set(self.items)) != len(self.items):
            raise ValueError(f"{self.name}: an item is named twice")
        for by, labels in self.slices.items():
            if len(labels) != len(self.items):
                raise ValueError(f"{self.name}: {len(labels)} labels by {by!r} for its items")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"{self.name}: the interval [{self.low}, {self.high}] is empty")
        return self


class Broken(Noun):
    """A measurement that was tried and failed, and why."""

    name: str
    reason: str


class MissingEvidence(Exception):
    """A gate asked for a measurement that nobody made."""


class BrokenEvidence(Exception):
    """A gate asked for a measurement whose making failed."""


class Evidence(Noun):
    """Everything that was measured about one subject. Gates read it and nothing else."""

    subject: Digest
    measurements: tuple[Measurement, ...] = ()
    broken: tuple[Broken, ...] = ()

    @model_validator(mode="after")
    def _one_measurement_a_name(self) -> Self:
        names = [m.name for m in self.measurements]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"measured twice: {', '.join(sorted(twice))}")
        return self

    def __getitem__(self, name: str) -> Measurement:
        for failed in self.broken:
            if failed.name == name:
                raise BrokenEvidence(f"{name} could not be measured: {failed.reason}")
        for measurement in self.measurements:
            if measurement.name == name:
                return measurement
        raise MissingEvidence(f"no measurement named {name!r}")


class BatchEvidence(Evidence):
    """What was measured about a batch before training. Read by data gates."""


class CandidateEvidence(Evidence):
    """What was measured about a candidate, its champion and its anchor. Read by model gates."""


class Compared(Noun):
    """What one comparison of a gate showed: an estimate, its bounds, and two p-values.

    `p_pass` is the probability of evidence this good if the truth were at the limit, and
    `p_block` of evidence this bad. A gate passes on the first; a stage blocks on the second.
    """

    than: str = Field(description="champion, anchor, or a slice against one of them")
    mean: float
    low: float | None = Field(description="the bound that must be above the limit; None: none")
    high: float | None = Field(description="the bound below which a loss is shown; None: none")
    limit: float
    n: int
    planned: int
    p_pass: float = Field(ge=0, le=1)
    p_block: float = Field(ge=0, le=1)
    method: str


class Verdict(Noun):
    """What one gate says, in one sentence, with the two numbers it compared.

    A comparing gate that did not pass says INCONCLUSIVE; whether it failed is for the stage
    to say, which alone knows how many comparisons were made.
    """

    outcome: Outcome
    reason: str
    observed: float | None = None
    limit: float | None = None
    compared: tuple[Compared, ...] = ()


class Ruling(Noun):
    """A verdict, and what the policy makes of it."""

    gate: str
    title: str = Field(description="the gate and what it was asked about, for people")
    verdict: Verdict
    action: Action
    why: str = Field(description="the reason that the policy gives for the gate")
    waived: str | None = Field(default=None, description="digest of the waiver that counted")
    approved: bool = Field(default=False, description="people approved what was held for them")


class Decision(Noun):
    """What happens to the candidate, and every ruling that led there."""

    action: Action
    rulings: tuple[Ruling, ...]

    @property
    def evidence_is_broken(self) -> bool:
        """Whether anything but a judged failure stood in the way of promotion."""
        unjudged = (Outcome.MISSING, Outcome.ERROR)
        return any(r.verdict.outcome in unjudged for r in self.rulings)


class Progress(NamedTuple):
    """How far a long piece of work has come, for whoever draws the bar."""

    stage: str
    done: int
    total: int | None
    unit: str


Report = Callable[[Progress], None]


def ignore_progress(_: Progress) -> None:
    """For callers that draw nothing."""
