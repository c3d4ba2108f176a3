"""Group testing over slices, with losses that a formula gives in place of a training."""

import random
from collections.abc import Callable, Collection

import pytest

from tidegate.flows.blaming.search import Loss, OutOfProbes, search
from tidegate.flows.blaming.slices import Slice

ITEMS = 40
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
        return Loss({"refusal.margin": tuple(values)}, {"refusal.margin": 0.15})


BAD = cut("source", 8)[5].rows


def test_the_bad_slice_is_named_with_few_probes() -> None:
    world = World(BAD)
    found = search(ROWS, [cut("source", 8)], world)
    assert found.blamed is not None and found.blamed.slice.name == "source-5"
    assert len(world.asked) == 1 + 2 * 3 + 1  # all, three halvings, all but one
    assert found.blamed.without.depth < 0.5 < found.whole.depth


def test_of_several_ways_to_cut_the_smallest_named_slice_is_blamed() -> None:
    found = search(ROWS, [cut("day", 2), cut("source", 8)], World(BAD))
    assert [s.slice.name for s in found.suspects] == ["day-1", "source-5"]
    assert all(suspect.named for suspect in found.suspects)
    assert found.blamed is not None and found.blamed.slice.by == "source"


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
    assert found.blamed is None, why


def test_without_harm_nothing_is_searched() -> None:
    world = World(())
    found = search(ROWS, [cut("source", 8)], world)
    assert len(world.asked) == 1 and found.suspects == () and not found.whole.shown()


@pytest.mark.parametrize("budget", range(1, 8))
def test_out_of_probes_nothing_unconfirmed_is_named(budget: int) -> None:
    found = search(ROWS, [cut("source", 8), cut("day", 2)], World(BAD, budget))
    assert found.blamed is None and found.not_asked == ("source", "day")


def test_one_suite_that_stays_lost_is_enough_not_to_name() -> None:
    """A slice that takes one harm with it and leaves another is not the cause."""
    slices = cut("source", 8)
    one, other = World(slices[5].rows), World(slices[2].rows)

    def both(rows: Collection[int]) -> Loss:
        changes = {"a": one(rows).changes["refusal.margin"]}
        changes["b"] = other(rows).changes["refusal.margin"]
        return Loss(changes, {"a": 0.15, "b": 0.3})

    ask: Callable[[Collection[int]], Loss] = both
    assert search(ROWS, [slices], ask).blamed is None
