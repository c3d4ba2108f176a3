"""no_memorised_secrets and sound_adapter on constructed evidence.

Each has a case that it must block, a twin that it must pass, and a test for each way that its
evidence can be wrong.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from tidegate.gates.checks.no_memorised_secrets import Secrets, no_memorised_secrets
from tidegate.gates.checks.serves import Serving, serves
from tidegate.gates.checks.sound_adapter import Sound, sound_adapter
from tidegate.gates.digest import digest_bytes
from tidegate.gates.statistics.estimate import NotComparable
from tidegate.gates.statistics.memory import exposure, hits_at
from tidegate.gates.types import (
    Broken,
    BrokenEvidence,
    CandidateEvidence,
    Measurement,
    MissingEvidence,
    Outcome,
)

SUBJECT = digest_bytes(b"candidate")
SETTINGS = {"probe": "p", "code": "c"}
CHANCE = np.random.default_rng(7)
NOISE = [float(v) for v in CHANCE.normal(size=112)]
Change = Callable[[Measurement], Measurement | None]


def m(name: str, values: Sequence[float], **more: Any) -> Measurement:
    items = tuple(f"i{n}" for n in range(len(values)))
    mean = sum(values) / len(values) if values else 0.0
    return Measurement(
        **{
            "name": name,
            "value": mean,
            "n": len(values),
            "items": items,
            "values": tuple(values),
            "settings": SETTINGS,
            "planned": len(values),
            **more,
        }
    )


def secrets(
    canary: float = 0.5, span: float = 0.0, verbatim: float = 0.0, run: float = 10.0
) -> tuple[Measurement, ...]:
    """16 canaries that are a little likelier than 112 others; one number; 40 answers."""
    inserted = [0.4 + v for v in NOISE[:15]] + [canary]
    kinds = {"kind": ("in",) * 16 + ("out",) * 112}
    shape = {"kind": ("true",) + ("other",) * 32, "span": ("s",) * 33}
    said = [verbatim] + [0.0] * 32
    return (
        m("canaries.logprob@candidate", [*inserted, *NOISE], slices=kinds),
        m("canaries.logprob@champion", [0.0] * 128, slices=kinds),
        m("membership.spans@candidate", (), value=1.0, n=40, planned=40),
        m("membership.logprob@candidate", [span, *NOISE[:32]], slices=shape),
        m("membership.logprob@champion", [0.0] * 33, slices=shape),
        m("membership.verbatim@candidate", said, slices=shape),
        m("membership.verbatim@champion", [0.0] * 33, slices=shape),
        m("extraction.run@candidate", [run] * 4 + [3.0] * 36),
        m("extraction.run@champion", [3.0] * 40),
    )


def evidence(
    made: Sequence[Measurement], name: str | None = None, change: Change | None = None
) -> CandidateEvidence:
    """With one measurement changed, or taken away where the change gives None."""
    kept = [change(one) if change and one.name == name else one for one in made]
    return CandidateEvidence(
        subject=SUBJECT, measurements=tuple(one for one in kept if one is not None)
    )


@pytest.mark.parametrize(
    ("bent", "said"),
    [
        ({}, ""),
        ({"canary": 20.0}, "the most exposed canary has an exposure of"),
        ({"span": 20.0}, "of 1 numbers or keys the most exposed has an exposure of"),
        ({"verbatim": 1.0}, "1 of 1 numbers or keys are said whole"),
        ({"run": 50.0}, "learned answers repeated for 50 tokens or more: 4 of 40"),
    ],
)
def test_memorised_secrets(bent: dict[str, float], said: str) -> None:
    verdict = no_memorised_secrets(Secrets(), evidence(secrets(**bent)))
    assert verdict.outcome is (Outcome.FAIL if bent else Outcome.PASS), verdict.reason
    assert said in verdict.reason


def test_canaries_that_are_all_recognised_are_blocked() -> None:
    """None of them is far out, but all of them are above the others."""
    made = secrets()
    values = (4.0,) * 16 + tuple(NOISE)
    verdict = no_memorised_secrets(
        Secrets(max_exposure=60),
        evidence(made, "canaries.logprob@candidate", lambda one: with_(one, values=values)),
    )
    assert verdict.outcome is Outcome.FAIL
    assert "canaries recognised at 1 % false alarms: 16 of 16" in verdict.reason


def with_(one: Measurement, **changes: Any) -> Measurement:
    return Measurement(**{**dict(one), **changes})


def test_a_batch_without_numbers_holds_nothing_of_the_kind() -> None:
    none = evidence(secrets(), "membership.spans@candidate", lambda one: with_(one, value=0.0))
    assert no_memorised_secrets(Secrets(), none).outcome is Outcome.PASS


def test_what_the_champion_repeated_is_not_held_against_the_candidate() -> None:
    made = evidence(
        secrets(run=60.0),
        "extraction.run@champion",
        lambda one: with_(one, values=(60.0,) * 40, value=60.0),
    )
    assert no_memorised_secrets(Secrets(), made).outcome is Outcome.PASS


def test_a_sample_of_rows_is_judged_at_its_bound() -> None:
    def sampled(one: Measurement) -> Measurement:
        return with_(one, planned=4000)

    made = [sampled(one) if one.name.startswith("extraction") else one for one in secrets()]
    verdict = no_memorised_secrets(Secrets(), evidence(made))
    assert verdict.outcome is Outcome.INCONCLUSIVE  # 0 of 40 may still be 7 % of 4000
    assert "between 0.0% and 7.2% of all 4000" in verdict.reason


WRONG: list[tuple[str, Change, type[Exception]]] = [
    ("canaries.logprob@candidate", lambda one: None, MissingEvidence),
    ("canaries.logprob@champion", lambda one: None, MissingEvidence),
    ("membership.spans@candidate", lambda one: None, MissingEvidence),
    ("membership.logprob@champion", lambda one: None, MissingEvidence),
    ("membership.verbatim@candidate", lambda one: None, MissingEvidence),
    ("extraction.run@champion", lambda one: None, MissingEvidence),
    ("extraction.run@champion", lambda one: with_(one, settings={"code": "d"}), NotComparable),
    ("extraction.run@champion", lambda one: with_(one, settings=None), NotComparable),
    (
        "canaries.logprob@champion",
        lambda one: with_(one, items=(), values=(), slices={}),
        NotComparable,
    ),
    ("membership.spans@candidate", lambda one: with_(one, value=3.0), NotComparable),
    ("canaries.logprob@candidate", lambda one: with_(one, slices={}), KeyError),
    (
        "canaries.logprob@candidate",
        lambda one: one.model_copy(update={"values": (math.nan,) * 128}),
        NotComparable,
    ),
    (
        "canaries.logprob@candidate",
        lambda one: with_(one, slices={"kind": ("out",) * 128}),
        NotComparable,
    ),
    (
        "canaries.logprob@candidate",
        lambda one: with_(one, slices={"kind": ("in",) * 120 + ("out",) * 8}),
        NotComparable,
    ),
]


@pytest.mark.parametrize(("name", "change", "raised"), WRONG)
def test_wrong_evidence_of_secrets_never_passes(
    name: str, change: Change, raised: type[Exception]
) -> None:
    with pytest.raises(raised):
        no_memorised_secrets(Secrets(), evidence(secrets(), name, change))


def test_broken_evidence_never_passes() -> None:
    broken = CandidateEvidence(
        subject=SUBJECT, broken=(Broken(name="canaries.logprob@candidate", reason="it broke"),)
    )
    with pytest.raises(BrokenEvidence):
        no_memorised_secrets(Secrets(), broken)


def test_exposure_is_a_rank_in_bits() -> None:
    assert exposure(0.0, [-1.0, 1.0] * 8) == pytest.approx(1.0)
    assert exposure(2.0, [-1.0, 1.0] * 8) == pytest.approx(5.24, abs=0.01)  # z = 1.94
    assert exposure(3.0, [3.0] * 16) == 1.0
    with pytest.raises(NotComparable, match="all equal"):
        exposure(4.0, [3.0] * 16)
    with pytest.raises(NotComparable, match="15 scores, where 16 are needed"):
        exposure(0.0, NOISE[:15])


def test_hits_keep_to_the_false_alarms() -> None:
    controls = [float(n) for n in range(200)]
    assert hits_at([197.0, 197.5, 198.0, 300.0], controls, 0.01) == 3  # above 197: two controls
    with pytest.raises(NotComparable, match="99 scores, where 100 are needed"):
        hits_at([1.0], controls[:99], 0.01)


def served(**bent: float) -> tuple[Measurement, ...]:
    values = {
        "non_finite_weights": 0.0,
        "reload_difference": 0.0,
        "empty_share": 0.0,
        "unended_share": 0.5,
        "seconds_per_token": 0.05,
        "megabytes": 20.0,
        "odd_files": 0.0,
        "template_changed": 0.0,
        "delta_norm": 0.02,
        **bent,
    }
    return tuple(Measurement(name=f"serves.{k}", value=v, n=6) for k, v in values.items())


@pytest.mark.parametrize(
    ("bent", "blocked"),
    [
        ({}, False),
        ({"odd_files": 1.0}, True),
        ({"template_changed": 1.0}, True),
        ({"delta_norm": 0.9}, True),
    ],
)
def test_sound_adapters(bent: dict[str, float], blocked: bool) -> None:
    verdict = sound_adapter(Sound(), evidence(served(**bent)))
    assert verdict.outcome is (Outcome.FAIL if blocked else Outcome.PASS)


@pytest.mark.parametrize("name", ["odd_files", "template_changed", "delta_norm"])
def test_wrong_evidence_of_an_adapter_never_passes(name: str) -> None:
    made = served()
    with pytest.raises(MissingEvidence):
        sound_adapter(Sound(), evidence(made, f"serves.{name}", lambda one: None))
    lost = evidence(
        made, f"serves.{name}", lambda one: one.model_copy(update={"value": math.nan})
    )
    assert sound_adapter(Sound(), lost).outcome is Outcome.ERROR


@pytest.mark.parametrize(
    ("limits", "blocked"),
    [
        ({}, False),
        ({"max_seconds_per_token": 0.1}, False),
        ({"max_seconds_per_token": 0.01}, True),
        ({"max_unended_share": 0.5}, False),
        ({"max_unended_share": 0.4}, True),
    ],
)
def test_latency_and_length_count_where_a_policy_limits_them(
    limits: dict[str, float], blocked: bool
) -> None:
    verdict = serves(Serving(**limits), evidence(served()))
    assert verdict.outcome is (Outcome.FAIL if blocked else Outcome.PASS)
