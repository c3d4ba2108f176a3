"""Many gates, one false-block rate."""

from collections.abc import Sequence


def holm(p_values: Sequence[float], alpha: float) -> list[bool]:
    """Which hypotheses fall, in the order given, with one error rate for all of them.

    The smallest p-value is compared with alpha / m, the next with alpha / (m - 1), and so
    on; the first that is above its share stops the rest. The probability that any true
    hypothesis falls is at most alpha, however the tests depend on each other.
    Raises ValueError for a p-value that is not a number between 0 and 1.
    Source: Holm (1979), Scandinavian Journal of Statistics 6:65.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"an error rate must lie strictly between 0 and 1, not at {alpha}")
    for p in p_values:
        if not 0 <= p <= 1:
            raise ValueError(f"a p-value must lie between 0 and 1, not at {p}")
    rejected = [False] * len(p_values)
    for left, i in zip(
        range(len(p_values), 0, -1),
        sorted(range(len(p_values)), key=p_values.__getitem__),
        strict=True,
    ):
        if p_values[i] > alpha / left:
            break
        rejected[i] = True
    return rejected
