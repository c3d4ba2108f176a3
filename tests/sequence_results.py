"""Made-up results of sequences, from which every number can be worked out by hand."""

from typing import Any

from tidegate.evals.sequence.drift import Drift
from tidegate.flows.sequencing.benchmark import Benchmark
from tidegate.flows.sequencing.result import Answered, ArmResult, Cost, State

DIGEST = f"sha256:{'0' * 64}"
ORIGIN = (-1.0, -1.0)
COST = Cost(seconds=2.0, tokens=100, steps=4)


def state(
    updates: int,
    margins: tuple[float, ...],
    kl: float,
    implied: float = -1.0,
    cost: Cost = COST,
) -> State:
    return State(
        updates=updates,
        model=DIGEST,
        probes=tuple(
            Answered(
                items=("direct", "follows"),
                slices=("person", "implied"),
                margin=(2 * margin - implied, implied),  # so that the mean is `margin`
                loglik=(margin - 1, margin - 1),
            )
            for margin in margins
        ),
        text=Drift(kl=(kl, kl), nll=(3.0 + kl, 3.0)),
        refusal=(0.5 - kl,),
        cost=cost if updates else None,
    )


def result(
    arm: str, seed: int, first: tuple[float, float], last: tuple[float, float], kl: float
) -> ArmResult:
    return ArmResult(
        arm=arm,
        kind="sequential",
        seed=seed,
        recipe=DIGEST,
        data=DIGEST,
        states=(state(0, ORIGIN, 0.0), state(1, first, kl / 2), state(2, last, kl, -0.5)),
    )


LORA = [
    result("lora", 0, (1.0, -1.0), (0.5, 1.0), 0.2),
    result("lora", 1, (1.2, -1.0), (0.6, 1.2), 0.4),
]
GOOD = [
    result("anchored", 0, (1.0, -1.0), (0.9, 1.0), 0.02),
    result("anchored", 1, (1.2, -1.0), (1.1, 1.2), 0.04),
]
POOR = [
    result("anchored", 0, (0.0, -1.0), (-1.0, 0.0), 0.2),
    result("anchored", 1, (0.2, -1.0), (-1.0, 0.0), 0.4),
]


def long(
    arm: str, seed: int, end: float, costs: tuple[Cost | None, ...] = (COST,) * 4
) -> ArmResult:
    """As many updates as costs, each of whose probes ends at `end`; joint if it is so called."""
    n = len(costs)
    states = [
        state(t, (end,) * t + (-1.0,) * (n - t), 0.1).model_copy(update={"cost": cost})
        for t, cost in enumerate(costs, 1)
    ]
    joint = arm.startswith("joint")
    return ArmResult(
        arm=arm,
        kind="joint" if joint else "sequential",
        seed=seed,
        recipe=DIGEST,
        data=DIGEST,
        states=(state(0, (-1.0,) * n, 0.0), *(states[-1:] if joint else states)),
    )


def benchmark(*results: ArmResult, **changed: Any) -> Benchmark:
    known: dict[str, Any] = {
        "base": "tiny",
        "base_digest": DIGEST,
        "data": "2 updates of 10 facts, invented",
        "settings": {"epochs": 3, "texts": 12, "first": 0, "seeds": 2},
        "recipes": {r.arm: {"method": r.arm, "learning_rate": 0.001} for r in results},
        "code": DIGEST,
        "revision": "unknown",
        "environment": DIGEST,
        "machine": {"device": "cpu"},
        "results": results,
        "failed": {},
    }
    return Benchmark(**{**known, **changed})
