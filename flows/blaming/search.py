"""Group testing: which slice of a batch does the harm, asked with as few probes as it takes.

    all rows → lose?  → each way to cut: halve, keep the worse half, …, one slice
                      → all rows but that slice → does the loss go?

A slice is *named* only if a probe that learned everything but it loses at most half as much,
and the difference is larger than chance (one-sided paired t, Bonferroni over the ways to cut).
Halving is adaptive group testing (Dorfman 1943; Hwang 1972) with a noisy test in place of an
exact one: it finds one slice of each kind. Harm that two slices do together, or that is spread
over the whole batch, is not named, and the result says so.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from tidegate.flows.blaming.slices import Slice
from tidegate.gates.statistics.paired import paired_t

ALPHA = 0.05
HALF = 0.5  # of the loss may be left without a slice that is blamed for it


class OutOfProbes(Exception):
    """The budget of probes is spent."""


@dataclass(frozen=True)
class Loss:
    """What one probe did on the suites of the gates that failed, against the parent.

    `changes`: by suite and metric, per item in one order for all probes; positive is better.
    `margins`: the loss that the gate allows, in the same unit.
    """

    changes: dict[str, tuple[float, ...]]
    margins: dict[str, float]

    def mean(self, suite: str) -> float:
        return sum(self.changes[suite]) / len(self.changes[suite])

    @property
    def depth(self) -> float:
        """The largest mean loss, in margins of its gate. Negative: nothing was lost."""
        return max(-self.mean(suite) / self.margins[suite] for suite in self.changes)

    def shown(self, alpha: float = ALPHA) -> tuple[str, ...]:
        """Suites on which something was lost beyond chance."""
        return tuple(
            suite for suite, values in self.changes.items() if paired_t(values).upper(alpha) < 0
        )


@dataclass(frozen=True)
class Suspect:
    """The worst slice of one way to cut, and the loss of everything but it."""

    slice: Slice
    without: Loss
    named: bool


@dataclass(frozen=True)
class Found:
    """What the search came to. `whole`: the loss of a probe over all rows."""

    whole: Loss
    suspects: tuple[Suspect, ...]
    not_asked: tuple[str, ...]  # ways to cut for which no probes were left

    @property
    def blamed(self) -> Suspect | None:
        """The smallest slice that is named."""
        named = [suspect for suspect in self.suspects if suspect.named]
        return min(named, key=lambda s: (len(s.slice.rows), s.slice.by), default=None)


Ask = Callable[[Collection[int]], Loss]


def search(rows: Collection[int], partitions: Sequence[Sequence[Slice]], ask: Ask) -> Found:
    """Find the slice that does the harm. `ask` learns some rows and says what was lost.

    `ask` may raise OutOfProbes; what was found until then is returned, and a suspect whose
    loss was not confirmed is never named. Raises NotComparable for suites of too few items.
    """
    whole = ask(rows)
    harmed = whole.shown()
    suspects: list[Suspect] = []
    for done, slices in enumerate(partitions):
        if not harmed:
            break
        try:
            worst = _narrowed(slices, ask)
            without = ask(sorted(set(rows) - worst.rows))
        except OutOfProbes:
            return Found(whole, tuple(suspects), tuple(s[0].by for s in partitions[done:]))
        named = _mends(whole, without, harmed, ALPHA / len(partitions))
        suspects.append(Suspect(worst, without, named))
    return Found(whole, tuple(suspects), ())


def _narrowed(slices: Sequence[Slice], ask: Ask) -> Slice:
    left = list(slices)
    while len(left) > 1:
        one, other = _halves(left)
        left = max(one, other, key=lambda half: ask(_rows(half)).depth)
    return left[0]


def _halves(slices: Sequence[Slice]) -> tuple[list[Slice], list[Slice]]:
    """Two halves of about as many rows: the largest slices first, each to the smaller half."""
    one: list[Slice] = []
    other: list[Slice] = []
    for piece in sorted(slices, key=lambda s: (-len(s.rows), s.name)):
        (one if len(_rows(one)) <= len(_rows(other)) else other).append(piece)
    return one, other


def _rows(slices: Sequence[Slice]) -> list[int]:
    return sorted({row for piece in slices for row in piece.rows})


def _mends(whole: Loss, without: Loss, harmed: Sequence[str], alpha: float) -> bool:
    """Whether what is lost with all rows is kept without the slice, on every suite."""
    for suite in harmed:
        pairs = zip(without.changes[suite], whole.changes[suite], strict=True)
        gained = [after - before for after, before in pairs]
        left = without.mean(suite) / whole.mean(suite)
        if left > HALF or not paired_t(gained).lower(alpha) > 0:
            return False
    return bool(harmed)
