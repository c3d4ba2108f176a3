"""Items that a comparison takes: stopping when settled, against the whole suite.

    python infra/bench/sequential.py [--runs 400] [--bound 1.5] [--chunk 16]

Simulated suites of normal differences, in nats per token, with spreads seen on real ones;
the limit is -0.15. Ours looks after every chunk and stops when the limit is settled; at the
end of the suite a paired t test has the other half of the error rates. Three others decide
the same draws: one paired t test of the whole suite, and at the same looks a paired t test
with Bonferroni's and with O'Brien and Fleming's levels (1979, Biometrics 35:549). Those may
need fewer items where differences are normal; they err where they are not: in the rows named
`rare`, a few items lose much, the mean is exactly the limit, and every PASS is wrong.
"""

import argparse
import json
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tidegate.gates.statistics.paired import paired_t
from tidegate.gates.statistics.sequential import EARLY_SHARE, confidence_sequence, settled

LIMIT = -0.15
FALSE_PASS, FALSE_BLOCK = 0.05, 0.10 / 12  # of one comparison among the twelve of a policy
SIZES, SPREADS = (110, 300, 1000), (0.16, 0.30, 0.48)
MEANS = (0.05, 0.0, -0.30, -0.50, -1.0)

Values = NDArray[np.float64]
Decided = tuple[str, int]  # what was decided, after how many items


def judged(values: Values, false_pass: float, false_block: float) -> str:
    """What a paired t test says at these levels."""
    test = paired_t(values.tolist())
    if test.p_at_most(LIMIT) <= false_pass:
        return "pass"
    return "fail" if test.p_at_least(LIMIT) <= false_block else "inconclusive"


def whole(values: Values, _: list[int]) -> Decided:
    return judged(values, FALSE_PASS, FALSE_BLOCK), values.size


def ours(bound: float) -> Callable[[Values, list[int]], Decided]:
    def decide(values: Values, looks: list[int]) -> Decided:
        for n in looks:
            seen = confidence_sequence(values[:n].tolist(), bound=bound)
            if settled(seen, LIMIT, false_pass_rate=FALSE_PASS, false_block_rate=FALSE_BLOCK):
                good = seen.p_at_most(LIMIT) <= EARLY_SHARE * FALSE_PASS
                return ("pass" if good else "fail"), n
        rest = 1 - EARLY_SHARE
        return judged(values, rest * FALSE_PASS, rest * FALSE_BLOCK), values.size

    return decide


def bonferroni(values: Values, looks: list[int]) -> Decided:
    for n in looks:
        said = judged(values[:n], FALSE_PASS / len(looks), FALSE_BLOCK / len(looks))
        if said != "inconclusive":
            return said, n
    return "inconclusive", values.size


def obrien_fleming(looks: list[int]) -> Callable[[Values, list[int]], Decided]:
    """|z| > c * sqrt(N / n) at look n, with c such that a Brownian motion crosses that often."""
    random, times = np.random.default_rng(0), np.diff([0, *looks])
    sums = np.cumsum(random.normal(size=(100_000, len(looks))) * np.sqrt(times), axis=1)
    highest = sums.max(axis=1) / math.sqrt(looks[-1])
    levels = []
    for n in looks:
        crossed = [np.quantile(highest, 1 - rate) for rate in (FALSE_PASS, FALSE_BLOCK)]
        scaled = np.array(crossed) * math.sqrt(looks[-1] / n)
        levels.append([0.5 * math.erfc(c / math.sqrt(2)) for c in scaled])

    def decide(values: Values, looks: list[int]) -> Decided:
        for n, (false_pass, false_block) in zip(looks, levels, strict=True):
            said = judged(values[:n], false_pass, false_block)
            if said != "inconclusive":
                return said, n
        return "inconclusive", values.size

    return decide


def rare_losses(random: np.random.Generator, shape: tuple[int, int], loss: float) -> Values:
    """No change but small noise, and on a few items a loss: the mean is the limit."""
    hit = random.random(shape) < -LIMIT / loss
    return np.where(hit, -loss, random.normal(0, 0.02, shape))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--bound", type=float, default=1.5)
    parser.add_argument("--chunk", type=int, default=16)
    args = parser.parse_args()
    random = np.random.default_rng(1)
    heads = ("ours", "whole suite", "Bonferroni", "O'Brien-Fleming")
    print(f"{'suite':>6}{'sd':>10}{'true':>7}" + "".join(f"{head:>24}" for head in heads))
    print(" " * 23 + f"{'items  pass  fail':>24}" * len(heads))
    fine: dict[int, list[float]] = {size: [] for size in SIZES}
    bad: dict[int, list[float]] = {size: [] for size in SIZES}
    fewer: list[float] = []
    wrong: list[list[float]] = []
    for size in SIZES:
        looks = [*range(args.chunk, size, args.chunk), size]
        deciders = (ours(args.bound), whole, bonferroni, obrien_fleming(looks))
        suites = [
            (f"{sd:.2f}", mean, random.normal(mean, sd, (args.runs, size)))
            for sd in SPREADS
            for mean in MEANS
        ]
        suites += [
            (f"rare {loss:g}", LIMIT, rare_losses(random, (args.runs, size), loss))
            for loss in (0.75, args.bound)
        ]
        for spread, mean, draws in suites:
            row, items, passed = f"{size:6}{spread:>10}{mean:+7.2f}", [], []
            for decider in deciders:
                seen = [decider(values, looks) for values in draws]
                items.append(float(np.mean([n for _, n in seen])) / size)
                rates = [
                    np.mean([said == word for said, _ in seen]) for word in ("pass", "fail")
                ]
                passed.append(float(rates[0]))
                row += f"{items[-1]:>10.0%}{rates[0]:>7.1%}{rates[1]:>7.1%}"
            print(row, flush=True)
            if mean == LIMIT:
                wrong.append(passed)
            else:
                (fine if mean > LIMIT else bad)[size].append(items[0])
                fewer.append(items[3] / items[0])
    errors = np.mean(wrong, axis=0)
    print(
        json.dumps(
            {
                "bench": "sequential",
                "items_when_fine": {n: round(float(np.mean(x)), 3) for n, x in fine.items()},
                "items_when_bad": {n: round(float(np.mean(x)), 3) for n, x in bad.items()},
                "obrien_fleming_items_to_ours": round(float(np.mean(fewer)), 2),
                "false_passes_of_rare_losses": round(float(errors[0]), 3),
                "obrien_fleming_false_passes": round(float(errors[3]), 3),
                "against": "the whole suite, and paired t at the levels of O'Brien and "
                "Fleming, with the same draws",
            }
        )
    )


if __name__ == "__main__":
    main()
