"""Pairing a candidate's measurement with a baseline's, item by item, or refusing to.

A comparison is between the same items, asked in the same way. Where items, task version,
prompts, precision, batch size or scorer differ, there is no comparison, and no number is
made up. What was measured is compared on its bad end:

 * p_pass, of evidence this good at the limit, at most false_pass_rate: PASS;
 * otherwise INCONCLUSIVE; `decide` makes it FAIL where p_block is small enough for a stage.

A suite that stopped early is judged by an anytime-valid confidence sequence on a share of
each error rate (`early_share`); a suite that was measured whole also by a fixed-sample
interval on the rest. Two tests on parts of one rate err together at most at that rate.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tidegate.gates.gate import How, Tested
from tidegate.gates.statistics.estimate import Estimate, NotComparable
from tidegate.gates.statistics.paired import heavy_tails, paired_bca, paired_t, paired_wider
from tidegate.gates.statistics.proportions import exact_binomial, tango
from tidegate.gates.statistics.sequential import confidence_sequence
from tidegate.gates.types import Compared, Evidence, Measurement, Outcome, Verdict

LOWER_IS_BETTER = frozenset({"nll", "answer_nll"})
BINARY = frozenset({"acc"})
INTERVALS = {"wider": paired_wider, "t": paired_t, "bca": paired_bca}
LEAST_MARGIN = 0.05  # a bound on what one item may count cannot be ten times nothing


@dataclass(frozen=True)
class Changes:
    """Candidate minus baseline, item by item in the order measured; positive is better."""

    than: str
    items: tuple[str, ...]
    values: tuple[float, ...]
    planned: int
    binary: bool
    absolute: bool = False  # levels, not differences

    @property
    def whole(self) -> bool:
        return len(self.values) >= self.planned

    def only(self, chosen: Sequence[bool], name: str) -> "Changes":
        """The items that are chosen of a suite that was measured whole."""
        pairs = zip(self.items, self.values, chosen, strict=True)
        kept = [(item, value) for item, value, wanted in pairs if wanted]
        return Changes(
            than=f"{self.than}, {name}",
            items=tuple(item for item, _ in kept),
            values=tuple(value for _, value in kept),
            planned=len(kept),
            binary=self.binary,
            absolute=self.absolute,
        )


def paired(evidence: Evidence, suite: str, metric: str, than: str) -> Changes:
    """The per-item changes of one suite against one baseline.

    Raises MissingEvidence or BrokenEvidence when a measurement is not there, and
    NotComparable when the two cannot be paired.
    """
    ours, before = matched(evidence, f"{suite}.{metric}", than)
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    return Changes(
        than=than,
        items=ours.items,
        values=tuple(
            sign * (value - earlier) for value, earlier in zip(ours.values, before, strict=True)
        ),
        planned=len(ours.items) if ours.planned is None else ours.planned,
        binary=metric in BINARY,
    )


def matched(
    evidence: Evidence, what: str, than: str = "champion"
) -> tuple[Measurement, tuple[float, ...]]:
    """The candidate's measurement, and the baseline's values of the same items in its order.

    Raises MissingEvidence or BrokenEvidence when a measurement is not there, and
    NotComparable when the two were not measured alike.
    """
    ours, theirs = evidence[f"{what}@candidate"], evidence[f"{what}@{than}"]
    _refuse_unequal(ours, theirs)
    before = dict(zip(theirs.items, theirs.values, strict=True))
    return ours, tuple(before[item] for item in ours.items)


def _refuse_unequal(ours: Measurement, theirs: Measurement) -> None:
    pair = f"{ours.name} and {theirs.name}"
    if not ours.settings or not theirs.settings:
        raise NotComparable(f"{pair} do not both say how they were measured")
    names = sorted({*ours.settings, *theirs.settings})
    unequal = [n for n in names if ours.settings.get(n) != theirs.settings.get(n)]
    if unequal:
        raise NotComparable(f"{pair} were measured with another {', '.join(unequal)}")
    if not ours.items:
        raise NotComparable(f"{pair} hold no per-item values")
    if ours.planned != theirs.planned:
        raise NotComparable(f"{pair} are parts of suites of different sizes")
    if set(ours.items) != set(theirs.items):
        odd = len(set(ours.items) ^ set(theirs.items))
        raise NotComparable(f"{pair} differ in {odd} items")


def compare(changes: Changes, limit: float, how: How) -> Compared:
    """What the changes show about whether their true mean is above the limit.

    Raises NotComparable for too few pairs, and for a suite measured in part although the
    policy does not let it stop early.
    """
    if not changes.whole and not how.early_share:
        raise NotComparable(
            f"only {len(changes.values)} of {changes.planned} items were measured"
        )
    tests = _tests(changes, limit, how)
    low = max(test.lower(how.false_pass_rate * share) for test, share in tests)
    high = min(test.upper(how.false_block_rate * share) for test, share in tests)
    return Compared(
        than=changes.than,
        mean=sum(changes.values) / len(changes.values),
        low=low if math.isfinite(low) else None,
        high=high if math.isfinite(high) else None,
        limit=limit,
        n=len(changes.values),
        planned=changes.planned,
        # Bonferroni with weights: the shares of one error rate add up to one.
        p_pass=min(1.0, *(test.p_at_most(limit) / share for test, share in tests)),
        p_block=min(1.0, *(test.p_at_least(limit) / share for test, share in tests)),
        method=" or ".join(test.method for test, _ in tests) + _tails(changes),
    )


def not_yet(changes: Changes, than: str, limit: float) -> Compared:
    """A comparison that waits for the whole suite: what is not there yet could be the bad part."""
    return Compared(
        than=than,
        mean=sum(changes.values) / len(changes.values),
        low=None,
        high=None,
        limit=limit,
        n=len(changes.values),
        planned=changes.planned,
        p_pass=1.0,
        p_block=1.0,
        method="not yet compared",
    )


def _tests(changes: Changes, limit: float, how: How) -> list[tuple[Estimate, float]]:
    """Each estimate, with its share of the error rates."""
    tests: list[tuple[Estimate, float]] = []
    if how.early_share:
        bound = 1.0 if changes.binary else how.bound_margins * max(abs(limit), LEAST_MARGIN)
        tests.append((confidence_sequence(changes.values, bound=bound), how.early_share))
    if changes.whole:
        tests.append((_fixed(changes, how), 1 - how.early_share))
    return tests


def _fixed(changes: Changes, how: How) -> Estimate:
    if changes.binary and changes.absolute:
        return exact_binomial(round(sum(changes.values)), len(changes.values))
    if changes.binary:
        return tango(changes.values)
    return INTERVALS[how.interval](changes.values)


def _tails(changes: Changes) -> str:
    heavy = not changes.binary and heavy_tails(changes.values)
    return ", heavy tails" if heavy else ""


def verdict(compared: Sequence[Compared], p: Tested, what: str) -> Verdict:
    """PASS if every comparison passes at its bad end; INCONCLUSIVE otherwise."""
    if not compared:
        return Verdict(outcome=Outcome.MISSING, reason=f"{what}: nothing was compared")
    good = [c.p_pass <= p.how.false_pass_rate and c.mean > c.limit for c in compared]
    # Bootstrap p-values end at one over the resamples: among equals the nearest to its limit.
    worst = max(
        compared, key=lambda c: (c.p_pass, c.limit - (c.mean if c.low is None else c.low))
    )
    return Verdict(
        outcome=Outcome.PASS if all(good) else Outcome.INCONCLUSIVE,
        reason="; ".join(_sentence(c, what, ok) for c, ok in zip(compared, good, strict=True)),
        observed=worst.low,
        limit=worst.limit,
        compared=tuple(compared),
    )


def _sentence(c: Compared, what: str, passes: bool) -> str:
    """One comparison in words, with the bounds that count."""
    items = f"{c.n} items" if c.n >= c.planned else f"{c.n} of {c.planned} items"
    best = "" if passes else f", at best {_bound(c.high)}"
    asked = c.than if c.than.startswith("on ") else f"against {_the(c.than)}"
    return (
        f"{asked} {what} {c.mean:+.3f}, at worst {_bound(c.low)}{best} "
        f"({items}; must stay above {c.limit:+.3f})"
    )


def _the(than: str) -> str:
    return f"the {than}" if than.startswith(("champion", "anchor")) else than


def _bound(value: float | None) -> str:
    return "without bound" if value is None else f"{value:+.3f}"
