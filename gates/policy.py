"""Reading a policy. A policy with one mistake in it is no policy: nothing runs.

    policy: default
    version: 3
    why: weekly updates of the support assistant
    data:                         # judged before a single training step
      - gate: fits_schema
        min_rows: 50
        why: an empty drop is an outage, not an update
    model:                        # judged on the candidate
      - gate: not_worse
        suite: refusal
        than: {champion: 0.1, anchor: 0.2}
        on_fail: reject
        why: refusals may not erode

Every message names the file and the line, what was found there, and what would do. The
digest names the resolved policy, with every default filled in: two files that say the same
have the same digest, and a comment changes nothing.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SerializeAsAny

from tidegate.gates.digest import digest_json
from tidegate.gates.gate import Gate, Params, load_gates
from tidegate.gates.types import Action, BatchEvidence, CandidateEvidence, Evidence, Noun
from tidegate.gates.yaml_file import Where, YamlError, YamlFile, did_you_mean

OWN_KEYS = {"gate", "on_fail", "why"}
PolicyError = YamlError


class GateUse(Noun):
    """One gate as one policy uses it."""

    gate: str
    params: SerializeAsAny[Params]
    on_fail: Action
    why: str

    @property
    def title(self) -> str:
        about = self.params.about()
        return f"{self.gate}({about})" if about else self.gate


class Reference(Noun):
    """A model that the candidate is compared with, by its alias in the registry."""

    alias: str


class Baselines(Noun):
    champion: Reference = Reference(alias="champion")
    anchor: Reference = Reference(alias="anchor")
    on_missing: Literal["hold", "reject"] = Field(
        default="hold", description="what happens when a baseline has no measurement"
    )


class Statistics(Noun):
    """How sure a comparison must be, on each side.

    All gates must pass for a promotion, so a harmful update slips through only if its own
    gate passes by chance: false_pass_rate needs no correction for the number of gates
    (an intersection-union test, Berger 1982). A harmless update is rejected if any gate
    fails by chance: false_block_rate is shared between the comparisons of the stage.
    """

    false_pass_rate: float = Field(default=0.05, gt=0, le=0.2)
    false_block_rate: float = Field(default=0.10, gt=0, le=0.5)
    on_inconclusive: Literal["hold", "reject"] = "hold"


class Promote(Noun):
    to: Literal["champion"] = "champion"
    keep: Literal["previous"] = "previous"


class Policy(Noun):
    policy: str
    version: int = Field(gt=0)
    why: str
    baselines: Baselines
    statistics: Statistics
    data: tuple[GateUse, ...] = Field(min_length=1)
    model: tuple[GateUse, ...] = Field(min_length=1)
    promote: Promote
    digest: str

    def suites(self) -> tuple[str, ...]:
        """The suites that the model gates ask about, in order of first mention."""
        named = [getattr(use.params, "suite", None) for use in self.model]
        return tuple(dict.fromkeys(name for name in named if name))


class _File(Noun):
    policy: str = Field(min_length=1)
    version: int = Field(gt=0)
    why: str = Field(min_length=1)
    baselines: Baselines = Baselines()
    statistics: Statistics = Statistics()
    data: list[dict[str, Any]] = Field(min_length=1)
    model: list[dict[str, Any]] = Field(min_length=1)
    promote: Promote = Promote()


class _Use(Noun):
    gate: str
    on_fail: Literal["hold", "reject"] = "reject"
    why: str = Field(min_length=1)


def load_policy(path: Path) -> Policy:
    """Read, check and freeze a policy, or raise PolicyError with the first mistake."""
    file = YamlFile(path)
    given = file.parse(_File, file.data)
    uses: dict[str, tuple[GateUse, ...]] = {}
    for stage, items, judges in (
        ("data", given.data, BatchEvidence),
        ("model", given.model, CandidateEvidence),
    ):
        uses[stage] = tuple(
            _gate_use(file, (stage, i), item, judges) for i, item in enumerate(items)
        )
        _refuse_repeats(file, stage, uses[stage])
    resolved = Policy(
        policy=given.policy,
        version=given.version,
        why=given.why,
        baselines=given.baselines,
        statistics=given.statistics,
        data=uses["data"],
        model=uses["model"],
        promote=given.promote,
        digest="",
    )
    digest = digest_json(resolved.model_dump(mode="json", exclude={"digest"}))
    return resolved.model_copy(update={"digest": digest})


def _gate_use(
    file: YamlFile, where: Where, item: dict[str, Any], judges: type[Evidence]
) -> GateUse:
    use = file.parse(_Use, {k: v for k, v in item.items() if k in OWN_KEYS}, where)
    found = _known(file, where, use.gate, judges)
    params = file.parse(
        found.params, {k: v for k, v in item.items() if k not in OWN_KEYS}, where
    )
    return GateUse(gate=use.gate, params=params, on_fail=Action(use.on_fail), why=use.why)


def _known(file: YamlFile, where: Where, name: str, judges: type[Evidence]) -> Gate:
    gates = load_gates()
    here = {n for n, gate in gates.items() if gate.judges is judges}
    if name in here:
        return gates[name]
    if name in gates:
        other = "model" if judges is BatchEvidence else "data"
        message = f"{name!r} is a gate of the other stage; move it under {other}:"
    else:
        message = f"there is no gate {name!r}{did_you_mean(name, sorted(here))}"
    raise file.error((*where, "gate"), message)


def _refuse_repeats(file: YamlFile, stage: str, uses: tuple[GateUse, ...]) -> None:
    seen: dict[str, int] = {}
    for i, use in enumerate(uses):
        if use.title in seen:
            first = file.line((stage, seen[use.title]))
            raise file.error((stage, i), f"{use.title} was already set on line {first}")
        seen[use.title] = i
