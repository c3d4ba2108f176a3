"""Whether the suites of a policy can decide what its margins ask.

A margin is asked of so many items, whose changes spread so much under an ordinary update:
that spread is what `policy calibrate` measures. An update that changes nothing must pass
with the policy's `power`, or the gate decides by luck. The smallest such margin is that of
the paired t test (power.py), whatever the policy's interval (for right and wrong answers
Tango's interval may then pass some 5 % fewer); slices are taken to spread as their whole
suite does, since nobody measured them one by one.

What is not asked here: whether `learned` can be met, because how much an update should
teach is not known, and of levels (`reaches`) only whether any answers could reach them.
"""

import math
from collections.abc import Iterator

from tidegate.gates.checks.gains_plausibly import Cap
from tidegate.gates.checks.not_worse import Margin, Slices
from tidegate.gates.checks.reaches import Level
from tidegate.gates.comparison import BINARY
from tidegate.gates.decide import how_sure
from tidegate.gates.gate import Comparing
from tidegate.gates.policy.calibration import Calibration, GateCalibration
from tidegate.gates.policy.finding import Finding, Place, SuiteFacts, at, refuse, warn
from tidegate.gates.policy.nouns import GateUse, Policy
from tidegate.gates.statistics.estimate import MIN_PAIRS
from tidegate.gates.statistics.power import pairs_needed, smallest_visible_loss

CALIBRATE = "run `tidegate policy calibrate`"


def margins(use: GateUse) -> dict[Place, float]:
    """The mean losses that a gate allows, or gains, by the setting that says so."""
    match use.params:
        case Margin(than=than):
            return {("than", name): margin for name, margin in than.given().items()}
        case Cap(at_most=most):
            return {("at_most",): most}
        case _:
            return {}


def calibrated(policy: Policy, found: Calibration | None) -> Iterator[Finding]:
    """Whether there is a calibration, of enough twins, of this base."""
    asked = policy.statistics.noise_floor
    where = ("statistics", "noise_floor")
    if found is None:
        said = "no A/A runs: nobody knows which margins the suites can decide"
        yield (refuse if asked else warn)("statistics", where, said, CALIBRATE)
        return
    runs = min(found.seeds, found.repeats)
    if asked and runs < asked.repeats:
        said = f"{runs} A/A runs where noise_floor asks for {asked.repeats}"
        yield refuse(
            "statistics",
            (*where, "repeats"),
            said,
            f"{CALIBRATE} with {asked.repeats} or more",
        )
    pinned = policy.envelope.base if policy.envelope else None
    if pinned and pinned.digest != found.base:
        said = f"the A/A runs were made on another base, {found.base[:19]}…"
        yield warn(
            "envelope", ("envelope", "base"), said, f"{CALIBRATE} on the base named here"
        )


def undecidable(
    policy: Policy, suites: dict[str, SuiteFacts], found: Calibration | None
) -> Iterator[Finding]:
    """Margins and levels that their suites cannot decide."""
    for use in policy.model:
        if not isinstance(use.params, Comparing) or use.params.suite not in suites:
            continue
        facts = suites[use.params.suite]
        if facts.n is None:
            continue  # not known before a batch
        if facts.n < MIN_PAIRS:
            said = f"the suite has {facts.n} items; a comparison needs {MIN_PAIRS}"
            yield refuse(use.title, at("model", use, "suite"), said, "add items to the suite")
            continue
        if isinstance(use.params, Level):
            yield from _out_of_reach(policy, use, use.params, facts.n)
        if found and margins(use):
            yield from _judged(policy, use, facts, found)


def _judged(
    policy: Policy, use: GateUse, facts: SuiteFacts, found: Calibration
) -> Iterator[Finding]:
    seen = _of_its_suite(use, found)
    asked = policy.statistics.noise_floor
    if seen is None:
        said = "the A/A runs did not measure this suite and metric"
        yield (refuse if asked else warn)(use.title, at("model", use), said, CALIBRATE)
        return
    if facts.n != seen.n:
        said = f"the A/A runs measured {seen.n} items; the suite has {facts.n} now"
        yield warn(use.title, at("model", use, "suite"), said, f"{CALIBRATE} again")
    for setting, margin in margins(use).items():
        yield from _margin(policy, use, at("model", use, *setting), margin, facts.n or 0, seen)
    if isinstance(use.params, Margin) and use.params.slices:
        yield from _slices(policy, use, use.params.slices, facts, seen)


def _of_its_suite(use: GateUse, found: Calibration) -> GateCalibration | None:
    """The spread belongs to a suite and a metric, whichever gate it was measured for."""
    asks = use.title.partition("(")[2]
    titles = (use.title, f"not_worse({asks}", f"gains_plausibly({asks}")
    return next((found.gates[title] for title in titles if title in found.gates), None)


def _margin(
    policy: Policy, use: GateUse, where: Place, margin: float, n: int, seen: GateCalibration
) -> Iterator[Finding]:
    name = " ".join(where[2:])
    if margin < seen.noise_floor:
        said = f"{name}: {margin:g} is below the noise floor: twins alone differ by {seen.noise_floor:.3g}"
        yield refuse(use.title, where, said, f"allow {_up(seen.noise_floor)} or more")
        return
    least, items = _smallest(policy, n, seen), _items(policy, margin, seen)
    if margin < least:
        said = f"{name}: {n} items cannot decide {margin:g}: {_unsure(policy)}"
        yield refuse(
            use.title, where, said, f"allow {_up(least)} or more, or ask {items:,} items"
        )


def _slices(
    policy: Policy, use: GateUse, s: Slices, facts: SuiteFacts, seen: GateCalibration
) -> Iterator[Finding]:
    counted = {k: n for k, n in facts.slices.get(s.by, {}).items() if n >= s.min_items}
    if not counted:
        return  # another rule says so
    name = min(counted, key=lambda key: counted[key])
    least = _smallest(policy, counted[name], seen)
    if s.worst < least:
        items = _items(policy, s.worst, seen)
        said = (
            f"slices worst: the {counted[name]} items of {s.by} {name!r} cannot decide "
            f"{s.worst:g}: {_unsure(policy)}"
        )
        act = f"allow {_up(least)} or more, or ask {items:,} items of each slice"
        yield refuse(use.title, at("model", use, "slices", "worst"), said, act)


def _out_of_reach(policy: Policy, use: GateUse, p: Level, n: int) -> Iterator[Finding]:
    """A share so high that not even n right answers of n show it (Clopper & Pearson)."""
    rate = _rate(policy)
    if p.metric not in BINARY or not 0 < p.at_least < 1 or p.at_least <= rate ** (1 / n):
        return
    items = math.ceil(math.log(rate) / math.log(p.at_least))
    said = f"at_least: {n} right answers of {n} do not show a share of {p.at_least:g}"
    best = math.floor(1000 * rate ** (1 / n)) / 1000
    act = f"ask for {best:g} or less, or ask {items:,} items"
    yield refuse(use.title, at("model", use, "at_least"), said, act)


def _rate(policy: Policy) -> float:
    """The false-pass rate that is left for a suite measured whole."""
    how = how_sure(policy)
    return how.false_pass_rate * (1 - how.early_share)


def _smallest(policy: Policy, n: int, seen: GateCalibration) -> float:
    power = policy.statistics.power
    return smallest_visible_loss(seen.sd_update, n, alpha=_rate(policy), power=power)


def _items(policy: Policy, margin: float, seen: GateCalibration) -> int:
    power = policy.statistics.power
    return pairs_needed(seen.sd_update, margin, alpha=_rate(policy), power=power)


def _unsure(policy: Policy) -> str:
    return f"a harmless update would pass in less than {policy.statistics.power:.0%} of cases"


def _up(number: float) -> str:
    """With three digits, never less than it is: what is advised must do."""
    if number <= 0:
        return "0"
    digits = 2 - math.floor(math.log10(number))
    return f"{math.ceil(round(number * 10**digits, 6)) / 10**digits:g}"
