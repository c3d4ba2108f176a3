"""What each step of training is made of: decided before the first one, by the seed alone."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tidegate.training.methods import Source, Term
from tidegate.training.packing import Item
from tidegate.training.rows import Row


def plan(
    terms: Sequence[Term],
    rows: Mapping[Source, Sequence[Row]],
    *,
    epochs: int,
    rows_per_step: int,
    seed: int,
    expanded: Mapping[str, Sequence[Row]] | None = None,
) -> list[list[Item]]:
    """The rows of every step, in order.

    Each epoch goes once through the rows of the first term, in an order of its own, cut into
    steps of nearly equal size. Rows of the other terms are dealt out by their share of these,
    each row once before any row twice. A term without rows is left out.

    expanded: by the id of a row, what was made from it; learned in the same steps as the row, so
    there are as many steps with it as without.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    lead = terms[0].source
    others = [t for t in terms[1:] if rows[t.source]]
    dealt = {t.source: _deal(rows[t.source], random) for t in others}
    owed = dict.fromkeys(dealt, 0.0)
    new = rows[lead]
    steps: list[list[Item]] = []
    for _ in range(epochs):
        order = random.permutation(len(new))
        for chosen in np.array_split(order, -(-len(new) // rows_per_step)):
            step = [Item(lead, new[i]) for i in chosen]
            if expanded:
                step += [Item(lead, row) for i in chosen for row in expanded.get(new[i].id, ())]
            for term in others:
                owed[term.source] += term.share * len(chosen)
                # The tolerance: ten times 0.2 rows are two rows, not 1.9999.
                whole = int(owed[term.source] + 1e-9)
                owed[term.source] -= whole
                step += [Item(term.source, next(dealt[term.source])) for _ in range(whole)]
            steps.append(step)
    return steps


def _deal(rows: Sequence[Row], random: np.random.Generator) -> Iterator[Row]:
    while True:
        for i in random.permutation(len(rows)):
            yield rows[i]
