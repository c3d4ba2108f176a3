"""Group testing: which slice of a batch does the harm, asked with as few probes as it takes.

    all rows → what is lost? → for each way to cut, for each suite that lost:
        halve, keep the half that loses more, …, one slice → all rows but that slice → is it kept?

A slice is *named* for a suite only if a probe that learned everything but it loses at most half
as much there, and the difference is larger than chance (one-sided paired t, Bonferroni over the
ways to cut and the suites). Halving is adaptive group testing (Dorfman 1943; Hwang 1972) with a
noisy test in place of an exact one: it finds one slice of each kind. Suites are searched apart,
because a batch may harm two things for two reasons; a probe answers for all suites, so what they
share is asked once. Harm that two slices do together, or that is spread over the whole batch, is
not named, and the result says so.
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

    def depth(self, suite: str) -> float:
        """The mean loss in margins of the suite's gate. Negative: it was no loss."""
        values = self.changes[suite]
        return -sum(values) / len(values) / self.margins[suite]

    def shown(self, alpha: float = ALPHA) -> tuple[str, ...]:
        """Suites on which something was lost beyond chance, the deepest loss first."""
        lost = [s for s, values in self.changes.items() if paired_t(values).upper(alpha) < 0]
        return tuple(sorted(lost, key=lambda suite: (-self.depth(suite), suite)))


@dataclass(frozen=True)
class Suspect:
    """The worst slice of one way to cut for one suite, and the loss of everything but it."""

    suite: str
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
    def blamed(self) -> tuple[Suspect, ...]:
        """Of each suite the smallest slice that is named for it."""
        smallest: dict[str, Suspect] = {}
        for suspect in sorted(self.suspects, key=lambda s: (len(s.slice.rows), s.slice.by)):
            if suspect.named:
                smallest.setdefault(suspect.suite, suspect)
        return tuple(smallest[suite] for suite in self.whole.shown() if suite in smallest)


Ask = Callable[[Collection[int]], Loss]


def search(rows: Collection[int], partitions: Sequence[Sequence[Slice]], ask: Ask) -> Found:
    """Find the slices that do the harm. `ask` learns some rows and says what was lost.

    `ask` is called once for the same rows. It may raise OutOfProbes; what was found until then is
    returned, and a suspect whose loss was not confirmed is never named. Raises NotComparable for
    suites of too few items.
    """
    known: dict[tuple[int, ...], Loss] = {}

    def once(some: Collection[int]) -> Loss:
        key = tuple(sorted(some))
        if key not in known:
            known[key] = ask(key)
        return known[key]

    whole = once(rows)
    harmed = whole.shown()
    alpha = ALPHA / max(1, len(partitions) * len(harmed))
    suspects: list[Suspect] = []
    for done, slices in enumerate(partitions):
        for suite in harmed:
            try:
                worst = _narrowed(slices, suite, once)
                without = once(set(rows) - worst.rows)
            except OutOfProbes:
                return Found(whole, tuple(suspects), tuple(s[0].by for s in partitions[done:]))
            named = _mends(whole, without, suite, alpha)
            suspects.append(Suspect(suite, worst, without, named))
    return Found(whole, tuple(suspects), ())


def _narrowed(slices: Sequence[Slice], suite: str, ask: Ask) -> Slice:
    left = list(slices)
    while len(left) > 1:
        one, other = _halves(left)
        left = max(one, other, key=lambda half: ask(_rows(half)).depth(suite))
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


def _mends(whole: Loss, without: Loss, suite: str, alpha: float) -> bool:
    """Whether what the suite lost with all rows is kept without the slice."""
    pairs = zip(without.changes[suite], whole.changes[suite], strict=True)
    gained = [after - before for after, before in pairs]
    left = without.depth(suite) / whole.depth(suite)
    return left <= HALF and paired_t(gained).lower(alpha) > 0
