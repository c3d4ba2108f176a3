"""What a policy holds once it has been read: every section, with every default filled in.

Each setting says which way a child policy may move it; see gates/tighter.py.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, SerializeAsAny, StringConstraints, model_validator

from tidegate.gates.gate import Params, load_gates
from tidegate.gates.policy.values import Duration, Range
from tidegate.gates.tighter import ADDED, FEWER, FREE, HIGHER, LOWER, MORE, SAME, WITHIN, ranked
from tidegate.gates.types import Action, Digest, Noun

Word = Annotated[str, StringConstraints(min_length=1)]


class GateUse(Noun):
    """One gate as one policy uses it."""

    gate: Annotated[str, SAME]
    params: SerializeAsAny[Params]
    on_fail: Annotated[Action, ranked(Action.HOLD, Action.REJECT)]
    why: Annotated[str, FREE]
    locked: Annotated[bool, ranked(False, True)] = Field(
        default=False, description="no waiver counts for this gate"
    )

    @model_validator(mode="before")
    @classmethod
    def _read_again(cls, value: Any) -> Any:
        """A stored policy has its parameters as plain data; the gate knows their shape."""
        if isinstance(value, dict) and isinstance(value.get("params"), dict):
            found = load_gates().get(str(value.get("gate")))
            if found is None:
                raise ValueError(f"there is no gate {value.get('gate')!r} any more")
            params = found.params.model_validate_json(json.dumps(value["params"]))
            return {**value, "params": params}
        return value

    @property
    def title(self) -> str:
        return self.params.title(self.gate, self.params.model_dump())


class Reference(Noun):
    """A model that the candidate is compared with, by its alias in the registry."""

    alias: str


class Baselines(Noun):
    """The two models that every candidate is compared with."""

    champion: Reference = Reference(alias="champion")
    anchor: Reference = Reference(alias="anchor")
    on_missing: Annotated[Literal["hold", "reject"], ranked("hold", "reject")] = Field(
        default="hold", description="what happens when a baseline has no measurement"
    )


class NoiseFloor(Noun):
    """How many retrained twins a margin must have been compared with."""

    repeats: Annotated[int, HIGHER] = Field(ge=1, description="A/A runs of `policy calibrate`")


class Sequential(Noun):
    """How measuring goes when it may stop early (`on_inconclusive: escalate`)."""

    chunk: Annotated[int, SAME] = Field(default=16, ge=8, description="items between two looks")
    # Below ten margins honest losses break the promise, above little is settled early.
    bound_margins: Annotated[float, SAME] = Field(
        default=10.0, gt=1, description="the most that one item may count, in margins"
    )
    early_share: Annotated[float, SAME] = Field(
        default=0.5, gt=0, lt=1, description="of each error rate, spent on stopping early"
    )


class Statistics(Noun):
    """How sure a comparison must be, on each side.

    All gates must pass for a promotion, so a harmful update slips through only if its own
    gate passes by chance: false_pass_rate needs no correction for the number of gates
    (an intersection-union test, Berger 1982). A harmless update is rejected if any gate
    fails by chance: false_block_rate is shared between the comparisons of the stage (Holm 1979).
    """

    false_pass_rate: Annotated[float, LOWER] = Field(
        default=0.05, gt=0, le=0.2, description="a harmful change passes its gate so often"
    )
    false_block_rate: Annotated[float, FREE] = Field(
        default=0.10, gt=0, le=0.5, description="a harmless update fails any gate so often"
    )
    interval: Annotated[Literal["wider", "t", "bca"], SAME] = Field(
        default="wider",
        description="bounds of per-item values: the wider of t and BCa, or one of them",
    )
    power: Annotated[float, HIGHER] = Field(
        default=0.8, ge=0.5, lt=1, description="a clean update passes each gate so often"
    )
    noise_floor: NoiseFloor | None = None
    on_inconclusive: Annotated[
        Literal["escalate", "hold", "reject"], ranked("hold", "reject")
    ] = Field(default="hold", description="escalate: measure more items, then hold")
    sequential: Sequential = Sequential()


class RecipeEnvelope(Noun):
    """Which recipes need no person."""

    methods: Annotated[tuple[Word, ...] | None, FEWER, Field(strict=False)] = None
    rank: Annotated[Range | None, WITHIN] = None
    alpha: Annotated[Range | None, WITHIN] = None
    learning_rate: Annotated[Range | None, WITHIN] = None
    epochs: Annotated[Range | None, WITHIN] = None


class DataEnvelope(Noun):
    """Which batches need no person."""

    sources: Annotated[tuple[Word, ...] | None, FEWER, Field(strict=False)] = None
    rows: Annotated[Range | None, WITHIN] = Field(
        default=None, description="records that would be learned"
    )
    replay_share: Annotated[Range | None, WITHIN] = Field(
        default=None, description="replayed rows for each new row, as drawn"
    )


class BaseEnvelope(Noun):
    digest: Digest


class Envelope(Noun):
    """What an update may be without a person (AI Act, Annex IV 2(f))."""

    base: Annotated[BaseEnvelope | None, ADDED] = None
    recipe: RecipeEnvelope = RecipeEnvelope()
    data: DataEnvelope = DataEnvelope()
    outside: Annotated[Literal["hold", "reject"], ranked("hold", "reject")] = "hold"


class Reviewer(Noun):
    """A person who may approve or waive: a public key with roles."""

    name: Word
    key: Word = Field(description="Ed25519 public key, base64 of its 32 bytes")
    roles: Annotated[tuple[Word, ...], Field(strict=False, min_length=1)]


class Approval(Noun):
    """When people decide, and which."""

    model_config = ConfigDict(serialize_by_alias=True)

    when: Annotated[Literal["hold", "always"], ranked("hold", "always")] = "hold"
    quorum: Annotated[int, HIGHER] = Field(default=1, ge=1)
    roles: Annotated[tuple[Word, ...], FEWER, Field(strict=False, min_length=1)] = (
        "model-reviewer",
    )
    excluded: Annotated[
        tuple[Literal["requester"], ...],
        MORE,
        Field(strict=False, alias="not", description="four eyes"),
    ] = ("requester",)
    valid_for: Annotated[Duration, LOWER] = Field(default=72 * 3600.0, gt=0)


class Promote(Noun):
    to: Literal["champion"] = "champion"
    keep: Literal["previous"] = "previous"


class Budget(Noun):
    """What one update may cost; past it the update is held."""

    wall: Annotated[Duration | None, LOWER] = Field(default=None, description="from the start")
    eval_items: Annotated[int | None, LOWER] = Field(
        default=None, ge=1, description="items that the candidate answers"
    )
    gpu_hours: Annotated[float | None, LOWER] = Field(default=None, gt=0)


class Proof(Noun):
    """Planted cases that the policy must have blocked, and clean ones that it must have passed."""

    must_block: Annotated[tuple[Word, ...], MORE, Field(strict=False, min_length=1)]
    must_pass: Annotated[tuple[Word, ...], MORE, Field(strict=False, min_length=1)]
    required: Annotated[bool, ranked(False, True)] = Field(
        default=True, description="without a proof of this very policy nothing is promoted"
    )


class Policy(Noun):
    """A policy as it decides. `digest` names all of it, what it inherited included."""

    policy: str
    version: int = Field(gt=0)
    why: str
    baselines: Baselines = Baselines()
    statistics: Statistics = Statistics()
    envelope: Envelope | None = None
    data: tuple[GateUse, ...] = Field(min_length=1)
    model: tuple[GateUse, ...] = Field(min_length=1)
    approval: Approval = Approval()
    reviewers: tuple[Reviewer, ...] = ()
    promote: Promote = Promote()
    budget: Budget = Budget()
    proof: Proof | None = None
    parent: "Policy | None" = None
    floor: Digest | None = Field(default=None, description="of the policy it was held against")
    digest: str

    def suites(self) -> tuple[str, ...]:
        """The suites that the model gates ask about, in order of first mention."""
        return tuple(dict.fromkeys(name for use in self.model for name in use.params.suites()))

    def probes(self) -> tuple[str, ...]:
        """The probes that the model gates ask for, those of its parent included."""
        named = [name for use in self.model for name in use.params.probes()]
        above = self.parent.probes() if self.parent else ()
        return tuple(dict.fromkeys([*named, *above]))

    def served(self) -> bool:
        """Whether a model gate, of its parent too, asks how the candidate serves."""
        above = self.parent is not None and self.parent.served()
        return above or any(use.params.served() for use in self.model)

    @property
    def escalates(self) -> bool:
        return self.statistics.on_inconclusive == "escalate"
