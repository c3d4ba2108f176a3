"""What was said of a method before it was measured, and whether the results say so.

Every claim is a ratio, sequence by sequence, with a limit. It is held or not held only where
the whole interval says so; with one sequence, or with a number missing, it is undecided.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field

from tidegate.flows.sequencing.arms import Kind
from tidegate.flows.sequencing.result import ArmResult, Score, State
from tidegate.flows.sequencing.summarise import Spread, measures, spread
from tidegate.flows.usage import UsageError
from tidegate.gates.types import Noun
from tidegate.gates.yaml_file import did_you_mean

CLAIMED = "anchored"  # the shipped default, of which the claims were made
NAIVE = "lora"
LONG = 4  # updates from which on an arm is held against joint retraining
STEADY = 3  # updates without which the second is no early one beside the last
JOINT_FACTOR, STEADY_FACTOR = 1.2, 1.1

Answer = Literal["held", "not held", "undecided"]
Pair = tuple[float | None, float | None]
Measures = Mapping[int, Mapping[str, float]]  # of one arm, by seed


class Claim(Noun):
    """A ratio, sequence by sequence, against what was said of it before it was measured."""

    claim: str
    at_least: float | None = None
    at_most: float | None = None
    ratio: Spread | None = Field(description="none: a number is missing or not positive")
    answer: Answer


def claimed_arm(name: str, kinds: Mapping[str, Kind]) -> str:
    """`name`, if it is an arm that learns update after update. Raises UsageError if not."""
    known = [arm for arm, kind in kinds.items() if kind == "sequential"]
    if name not in known:
        raise UsageError(f"claims cannot be made of {name!r}{did_you_mean(name, known)}")
    return name


def claims(results: Sequence[ArmResult], score: Score, arm: str = CLAIMED) -> tuple[Claim, ...]:
    """What `arm` keeps of what plain LoRA and joint retraining do.

    Against plain LoRA, at the rate that learned most if there are several: at least 0.9 of the
    learning, at most 0.4 of the drift (KL on text) and at most 0.5 of the forgetting.

    Against joint retraining, after four or more updates: at least 1/1.2 of what it gains on
    all probes. This stands in for "forgets at most 1.2 times as much": joint retraining has one
    state and no forgetting in Chaudhry's sense. What was never learned counts here like what
    was forgotten. Left out without an arm to compare with, or with fewer updates.
    """
    found: dict[str, dict[int, dict[str, float]]] = {}
    for result in results:
        one = measures(result, score)
        one["gained"] = one["after"] - one["before"]
        found.setdefault(result.arm, {})[result.seed] = one
    mine = [r for r in results if r.arm == arm and r.kind == "sequential"]
    if not mine:
        return ()
    updates = min(r.last.updates for r in mine)
    others = {name: each for name, each in found.items() if name != arm}
    naive = {n: each for n, each in others.items() if n.partition("@")[0] == NAIVE}
    joint = {r.arm: others[r.arm] for r in results if r.kind == "joint" and r.arm in others}
    made = []
    if naive:
        best, than = _best(found[arm], naive, "learned")
        limits: tuple[tuple[str, str, float | None, float | None], ...] = (
            ("learned", "the learning", 0.9, None),
            ("kl", "the drift on text", None, 0.4),
            ("forgetting", "the forgetting", None, 0.5),
        )
        for name, what, at_least, at_most in limits:
            said = f"{what} of {arm} as a share of that of {than}"
            made.append(_claim(said, _pairs(found[arm], best, name), at_least, at_most))
    if joint and updates >= LONG:
        best, than = _best(found[arm], joint, "gained")
        said = (
            f"what {arm} gained on all probes by the end of {updates} updates as a share of what "
            f"{than} gained (stands in for forgetting, which joint retraining has none of)"
        )
        made.append(_claim(said, _pairs(found[arm], best, "gained"), 1 / JOINT_FACTOR, None))
    return tuple(made)


def cost_claims(results: Sequence[ArmResult], arm: str = CLAIMED) -> tuple[Claim, ...]:
    """An update costs `arm` the same late as early: the last at most 1.1 times the second.

    The second, because the first has nothing to rehearse. Left out with fewer than three
    updates: the second would be compared with itself.
    """
    mine = [r for r in results if r.arm == arm and r.kind == "sequential"]
    if not mine or min(r.last.updates for r in mine) < STEADY:
        return ()
    mine.sort(key=lambda r: r.seed)
    said = f"of training the last update of {arm} over those of the second"
    noisy = f"the seconds {said} (noisy where the machine had other work)"
    tokens = [(_tokens(r.last), _tokens(r.states[2])) for r in mine]
    seconds = [(_seconds(r.last), _seconds(r.states[2])) for r in mine]
    return (
        _claim(f"the tokens {said}", tokens, None, STEADY_FACTOR),
        _claim(noisy, seconds, None, STEADY_FACTOR),
    )


def _best(mine: Measures, others: Mapping[str, Measures], name: str) -> tuple[Measures, str]:
    """The arm with the largest mean on the sequences that all share, and what to call it.

    Only on those: sequences differ in their facts, and an arm must not win by easier ones.
    """
    shared = set(mine).intersection(*others.values())
    if not shared:
        return {}, f"the best of {', '.join(others)} (no sequence is shared by all)"
    best = max(others, key=lambda arm: sum(others[arm][seed][name] for seed in shared))
    most = f" ({name} most of {', '.join(others)})" if len(others) > 1 else ""
    return others[best], best + most


def _pairs(mine: Measures, theirs: Measures, name: str) -> list[Pair]:
    seeds = sorted(set(mine) & set(theirs))
    return [(mine[seed].get(name), theirs[seed].get(name)) for seed in seeds]


def _claim(
    said: str, pairs: Sequence[Pair], at_least: float | None, at_most: float | None
) -> Claim:
    ratios = [a / b for a, b in pairs if a is not None and b is not None and b > 0]
    ratio = spread(ratios) if ratios and len(ratios) == len(pairs) else None
    answer = _answer(ratio, at_least, at_most)
    return Claim(claim=said, at_least=at_least, at_most=at_most, ratio=ratio, answer=answer)


def _answer(ratio: Spread | None, at_least: float | None, at_most: float | None) -> Answer:
    if ratio is None or ratio.low is None or ratio.high is None:
        return "undecided"
    good = [
        (at_least is None or end >= at_least) and (at_most is None or end <= at_most)
        for end in (ratio.low, ratio.high)
    ]
    return "held" if all(good) else "undecided" if any(good) else "not held"


def _tokens(state: State) -> float | None:
    """Of training; none where nothing was, which is no cheap update but a missing number."""
    return float(state.cost.tokens) if state.cost and state.cost.tokens > 0 else None


def _seconds(state: State) -> float | None:
    return state.cost.seconds if state.cost and state.cost.seconds > 0 else None
