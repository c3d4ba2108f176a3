"""What was measured about a batch, as evidence for the data gates."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tidegate.flows.checking.fates import Fates
from tidegate.flows.checking.released import Released
from tidegate.flows.trusting.store import Trusted
from tidegate.gates.expectations import Judged
from tidegate.gates.routing import Routes, RowGate, either
from tidegate.gates.signals.authenticity import Lane
from tidegate.gates.signals.compute import Settings, Signals
from tidegate.gates.trusted_limits import TRUSTED, Calibrated
from tidegate.gates.types import Batch, BatchEvidence, Broken, Measurement


class GateCount(NamedTuple):
    """What one data gate did to single records. One record may be in several gates' counts."""

    gate: str
    hits: int  # before routing
    masked: int
    quarantined: int


def count_by_gate(
    gates: Sequence[RowGate], first: Routes, fates: Fates
) -> tuple[GateCount, ...]:
    counts = []
    for gate in gates:
        named = fates.because_of(gate.name)
        masked = (named & fates.masked).sum() if gate.params.mask else 0
        quarantined = (named & fates.quarantined).sum() if gate.params.quarantine else 0
        hits = first.hits(gate.name).sum()
        counts.append(GateCount(gate.name, int(hits), int(masked), int(quarantined)))
    return tuple(counts)


def data_evidence(
    batch: Batch,
    gates: Sequence[RowGate],
    counts: Sequence[GateCount],
    judged: Judged,
    settings: Settings,
    fates: Fates,
    released: Released,
    after: Signals,
    trusted: Trusted | None,
    contradictions: Mapping[str, int] | None,
    looked_up: int,
) -> BatchEvidence:
    """Counts and shares of the batch, and for each gate hits, left and quarantined_share.

    What people released from a gate is not left over by it; `data.released` counts it.
    after: the signals of what is kept. contradictions: how many of each kind; None: nobody
    asked. looked_up: records that go to the context store because of one.
    """
    rows, quarantined = batch.rows, int(fates.quarantined.sum())
    measured = [
        _number("data.read", batch.read, batch.read),
        _number("data.rows", rows, rows),
        _number("data.kept", rows - quarantined, rows),
        _number("data.masked", int(fates.masked.sum()), rows),
        _number("data.released", released.count(), rows),
        _number("data.duplicates", batch.duplicates, batch.read),
        _number("data.without_consent", batch.without_consent, batch.read),
    ]
    broken = []
    shares = {
        "data.unreadable_share": (batch.unreadable, batch.read),
        "data.quarantined_share": (quarantined, rows),
    }
    if settings.protected is None:
        reason = "no protected texts were given, so nothing was compared with them"
        broken.append(Broken(name="data.protected_texts", reason=reason))
    else:
        measured.append(_number("data.protected_texts", settings.protected.texts, rows))
    if trusted is None:
        reason = "no trusted batch was named; give --trusted"
        broken.append(Broken(name=TRUSTED, reason=reason))
    else:
        known = _number(TRUSTED, trusted.known.rows, trusted.known.rows)
        measured.append(known.model_copy(update={"settings": trusted.said}))
    if settings.lanes is not None:
        measured.append(_number("data.gateway_keys", settings.lanes.keys, rows))
        for lane in Lane:
            name = f"data.lane.{lane.name.lower()}"
            measured.append(_number(name, settings.lanes.count(lane), rows))
        shares["data.forged_share"] = (settings.lanes.count(Lane.FORGED), rows)
    rules = {"no_secrets": {"rules": settings.rules.digest}}
    if settings.rules.notes:
        rules["no_secrets"]["left_out"] = "; ".join(settings.rules.notes)
    if contradictions is not None:
        before = settings.history.rows if settings.history else 0
        measured.append(_number("data.learned_before", before, before))
        measured.append(
            _number("data.no_contradictions.looked_up", looked_up, rows - quarantined)
        )
        rules["no_contradictions"] = {k: str(n) for k, n in contradictions.items() if n}
    if settings.names is not None:
        rules["no_personal_data"] = {"names": settings.names.said}
    for gate, count in zip(gates, counts, strict=True):
        name = f"data.{gate.name}"
        left = judged.left[gate.name]
        if isinstance(left, Broken):  # then its column was not measured, or nothing is left
            broken.append(left)
        else:
            value = left.value - released.count(gate.name)
            measured.append(left.model_copy(update={"value": value}))
        if isinstance(left, Broken) and rows > quarantined:
            broken.append(Broken(name=f"{name}.hits", reason=left.reason))
        else:
            hits = _number(f"{name}.hits", count.hits, rows)
            said = rules.get(gate.name)
            if trusted and isinstance(gate.params, Calibrated):
                limit = f"{getattr(gate.params, gate.params.limit):.6g}"
                said = {**trusted.said, "limit": limit}
                by_hand = (m for reason, m in released.marks if reason.gate == gate.name)
                looked_at = either(fates.quarantined, by_hand)[~fates.quarantined]
                weak = int((gate.for_review(after.columns) & ~looked_at).sum())
                measured.append(_number(f"{name}.for_review", weak, rows - quarantined))
            measured.append(hits.model_copy(update={"settings": said}))
        shares[f"{name}.quarantined_share"] = (count.quarantined, rows)
    for name, (part, whole) in shares.items():
        if whole:
            measured.append(_number(name, part / whole, whole))
        else:
            broken.append(Broken(name=name, reason="there is nothing to take a share of"))
    return BatchEvidence(
        subject=batch.digest, measurements=tuple(measured), broken=tuple(broken)
    )


def _number(name: str, value: float, n: int) -> Measurement:
    return Measurement(name=name, value=float(value), n=n)
