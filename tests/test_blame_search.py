"""Group testing over slices, with losses that a formula gives in place of a training."""

import random
from collections.abc import Callable, Collection

import pytest

from tidegate.flows.blaming.search import Found, Loss, OutOfProbes, search
from tidegate.flows.blaming.slices import Slice

ITEMS = 40
REFUSAL = "refusal.margin"
ROWS = range(96)


def cut(by: str, pieces: int) -> tuple[Slice, ...]:
    """Rows dealt out in blocks, so that two cuts into other numbers cross."""
    size = -(-len(ROWS) // pieces)
    return tuple(
        Slice(by, f"{by}-{k}", frozenset(ROWS[k * size : (k + 1) * size]))
        for k in range(pieces)
    )


class World:
    """Loses in proportion to the share of harmful rows, with noise in every item."""

    def __init__(self, harmful: Collection[int], budget: int = 99, spread: float = 0.1) -> None:
        self.harmful, self.budget, self.spread = set(harmful), budget, spread
        self.asked: list[tuple[int, ...]] = []

    def __call__(self, rows: Collection[int]) -> Loss:
        if len(self.asked) == self.budget:
            raise OutOfProbes
        self.asked.append(tuple(sorted(rows)))
        share = len(self.harmful & set(rows)) / len(rows)
        noise = random.Random(str(self.asked[-1]))
        values = [-2.0 * share + noise.gauss(0, self.spread) for _ in range(ITEMS)]
        return Loss({REFUSAL: tuple(values)}, {REFUSAL: 0.15})


BAD = cut("source", 8)[5].rows


def blamed(found: Found) -> list[tuple[str, str]]:
    return [(suspect.suite, suspect.slice.name) for suspect in found.blamed]


def test_the_bad_slice_is_named_with_few_probes() -> None:
    world = World(BAD)
    found = search(ROWS, [cut("source", 8)], world)
    assert blamed(found) == [(REFUSAL, "source-5")]
    assert len(world.asked) == 1 + 2 * 3 + 1  # all, three halvings, all but one
    without = found.blamed[0].without.depth(REFUSAL)
    assert without < 0.5 < found.whole.depth(REFUSAL)


def test_of_several_ways_to_cut_the_smallest_named_slice_is_blamed() -> None:
    found = search(ROWS, [cut("day", 2), cut("source", 8)], World(BAD))
    assert [s.slice.name for s in found.suspects] == ["day-1", "source-5"]
    assert all(suspect.named for suspect in found.suspects)
    assert blamed(found) == [(REFUSAL, "source-5")]


@pytest.mark.parametrize(
    ("world", "why"),
    [
        (World(()), "nothing is lost"),
        (World(ROWS), "every row does harm"),
        (World({*cut("s", 8)[1].rows, *cut("s", 8)[6].rows}), "two slices share the harm"),
        (World({row for row in ROWS if row % 8 == 0}), "the harm is spread over all slices"),
        (World(list(BAD)[:1], spread=2.0), "the loss is no larger than chance"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_no_single_slice_explains_is_not_named(world: World, why: str) -> None:
    found = search(ROWS, [cut("source", 8)], world)
    assert found.blamed == (), why


def test_without_harm_nothing_is_searched() -> None:
    world = World(())
    found = search(ROWS, [cut("source", 8)], world)
    assert len(world.asked) == 1 and found.suspects == () and not found.whole.shown()


@pytest.mark.parametrize("budget", range(1, 8))
def test_out_of_probes_nothing_unconfirmed_is_named(budget: int) -> None:
    found = search(ROWS, [cut("source", 8), cut("day", 2)], World(BAD, budget))
    assert found.blamed == () and found.not_asked == ("source", "day")


def test_two_suites_that_were_harmed_by_two_slices_name_one_each() -> None:
    slices = cut("source", 8)
    one, other = World(slices[5].rows), World(slices[2].rows)

    def both(rows: Collection[int]) -> Loss:
        changes = {"a": one(rows).changes[REFUSAL]}
        changes["b"] = other(rows).changes[REFUSAL]
        return Loss(changes, {"a": 0.15, "b": 0.3})

    ask: Callable[[Collection[int]], Loss] = both
    assert blamed(search(ROWS, [slices], ask)) == [("a", "source-5"), ("b", "source-2")]
    # All rows, and for each its two halves at three levels (the first is shared) and all but it.
    assert len(one.asked) == len(set(one.asked)) == 1 + 2 + 2 * (4 + 1)


def test_what_the_whole_batch_wears_down_hides_no_culprit_of_another_suite() -> None:
    slices = cut("source", 8)
    everything, one = World(ROWS), World(slices[5].rows)

    def both(rows: Collection[int]) -> Loss:
        changes = {"worn": everything(rows).changes[REFUSAL], "hit": one(rows).changes[REFUSAL]}
        return Loss(changes, {"worn": 0.15, "hit": 0.15})

    found = search(ROWS, [slices], both)
    assert found.whole.shown() == ("worn", "hit")
    assert blamed(found) == [("hit", "source-5")]
