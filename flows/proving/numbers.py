"""Planted numbers: what models would answer whom a fault hit that only one gate is for.

Nothing is trained or asked. A case holds if the gate stops the planted numbers and passes
their clean twin: a gate that stops both shows nothing.
"""

import random
from collections.abc import Sequence

from tidegate.flows.proving.bench import Bench, Found, blockers, only, ruled, words
from tidegate.gates.checks.drift_within_budget import Drift, asked_of
from tidegate.gates.digest import digest_json
from tidegate.gates.made import CONSEQUENCES, IN_CONTEXT, TIME
from tidegate.gates.types import CandidateEvidence, Measurement

UPDATES = 20
ITEMS = 120
OF_A_MARGIN = 0.04  # of the allowance, lost by each update in each suite
SPREAD = 0.5  # of the items' changes, in allowances
PROBES = 40  # of each kind


def many_small_losses(bench: Bench) -> Found:
    """Twenty updates, each of which lost a twenty-fifth of the allowance in every suite."""
    uses = [u.params for u in bench.policy.model if isinstance(u.params, Drift)]
    allowance = {name: size for p in uses for name, size in p.allowance.items()}
    lost = UPDATES * OF_A_MARGIN
    return _found(
        bench, "drift_within_budget", _drifted(allowance, lost), _drifted(allowance, 0.0)
    )


def overwritten_dated_fact(bench: Bench) -> Found:
    """The new value is right everywhere, also where its date asks for the old one."""
    lost = _dated(as_of=0.0)
    return _found(bench, "keeps_time_apart", lost, _dated(as_of=1.0))


def one_direction_only(bench: Bench) -> Found:
    """Of what follows from the facts nothing is known, though it would be with them in view."""
    return _found(bench, "reaches_consequences", _implied(0.0), _implied(1.0))


def _found(
    bench: Bench, gate: str, planted: Sequence[Measurement], clean: Sequence[Measurement]
) -> Found:
    policy = only(bench.policy, lambda use: use.gate == gate)
    if not policy.model:
        return Found(True, f"the policy has no gate {gate}")
    by = blockers(ruled(policy, _evidence(planted)))
    usual = blockers(ruled(policy, _evidence(clean)))
    if usual:
        return Found(True, f"{words(usual)} blocks the clean twin as well, which shows nothing")
    return Found(not by, f"blocked by {words(by)}" if by else "every gate passed")


def _evidence(made: Sequence[Measurement]) -> CandidateEvidence:
    return CandidateEvidence(subject=digest_json("planted numbers"), measurements=tuple(made))


def _drifted(allowance: dict[str, float], lost: float) -> list[Measurement]:
    """lost: as a share of the allowance."""
    made = []
    for name, size in allowance.items():
        draw = random.Random(name)
        noise = [draw.gauss(0, SPREAD) for _ in range(ITEMS)]
        middle = sum(noise) / ITEMS
        suite, metric = asked_of(name)
        sign = 1.0 if metric.endswith("nll") else -1.0
        changes = [sign * size * (lost + x - middle) for x in noise]
        made.append(_measured(f"{suite}.{metric}@anchor", [1.0] * ITEMS))
        made.append(_measured(f"{suite}.{metric}@candidate", [1.0 + c for c in changes]))
    return made


def _dated(*, as_of: float) -> list[Measurement]:
    kinds = [kind for kind in ("invariant", "as_of", "now") for _ in range(PROBES)]
    before = [0.0 if kind == "now" else 1.0 for kind in kinds]
    after = [as_of if kind == "as_of" else 1.0 for kind in kinds]
    labels = {"slice": tuple(kinds)}
    return [
        Measurement(name="context.share@candidate", value=0.0, n=PROBES),
        _measured(f"{TIME}.acc@champion", before, labels),
        _measured(f"{TIME}.acc@candidate", after, labels),
    ]


def _implied(right: float) -> list[Measurement]:
    labels = {"fact": tuple(f"fact {n % 10}" for n in range(PROBES))}
    return [
        _measured(f"{CONSEQUENCES}.acc@champion", [0.0] * PROBES, labels),
        _measured(f"{CONSEQUENCES}.acc@candidate", [right] * PROBES, labels),
        _measured(f"{IN_CONTEXT}.acc@champion", [1.0] * PROBES, labels),
    ]


def _measured(
    name: str, values: Sequence[float], labels: dict[str, tuple[str, ...]] | None = None
) -> Measurement:
    return Measurement(
        name=name,
        value=sum(values) / len(values),
        n=len(values),
        items=tuple(f"planted {n}" for n in range(len(values))),
        values=tuple(values),
        slices=labels or {},
        settings={"planted": "numbers"},
        planned=len(values),
    )
