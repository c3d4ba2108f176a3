"""A share against its limit, at the bad end of its exact interval.

PASS if the upper bound is within the limit, FAIL if the lower bound exceeds it, INCONCLUSIVE
between. Where every item that there is was asked there is nothing to be unsure of, and the
share itself is compared.
"""

from tidegate.gates.statistics.proportions import exact_binomial
from tidegate.gates.types import Outcome, Verdict

ALPHA = 0.05  # each bound is wrong at most this often (Clopper & Pearson 1934)


def share_at_most(hits: int, n: int, planned: int, limit: float, what: str) -> Verdict:
    """Judge `hits` of `n` items, of `planned` that could have been asked.

    Raises NotComparable if there are no items or more hits than items.
    """
    seen = exact_binomial(hits, n)
    whole = n >= planned
    low = seen.mean if whole else seen.lower(ALPHA)
    high = seen.mean if whole else seen.upper(ALPHA)
    if high <= limit:
        outcome, bound = Outcome.PASS, high
    elif low > limit:
        outcome, bound = Outcome.FAIL, low
    else:
        outcome, bound = Outcome.INCONCLUSIVE, high
    between = "" if whole else f", between {low:.1%} and {high:.1%} of all {planned}"
    reason = f"{what}: {hits} of {n}{between}; the limit is {limit:.1%}"
    return Verdict(outcome=outcome, reason=reason, observed=bound, limit=limit)
