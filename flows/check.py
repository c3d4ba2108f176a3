"""Check: every data gate of a policy on one batch, before a single training step.

    measure → route → mask → measure again → judge → decide

Signals are measured on the batch, every record is routed, what can be masked is masked,
and everything is measured again on the file that a trainer would read: the verdicts are
about that file. A record that only the second measurement gives away is quarantined too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tidegate.flows.checking import engines, output
from tidegate.flows.checking.contradicting import looked_up, write_opposed
from tidegate.flows.checking.evidence import GateCount, count_by_gate, data_evidence
from tidegate.flows.checking.fates import Masking, settled
from tidegate.flows.checking.history import taught_before
from tidegate.flows.checking.released import find_excused
from tidegate.flows.checking.trust import lanes_and_quotas
from tidegate.flows.erasing.tombstones import Erased
from tidegate.flows.home import Home
from tidegate.flows.intake.batches import RECORDS, write_records
from tidegate.flows.intake.pseudonym import pseudonym_key
from tidegate.flows.intake.scratch import scratch_folder
from tidegate.flows.trusting.store import Trusted
from tidegate.flows.usage import UsageError
from tidegate.gates.checks.no_contradictions import Contradictions
from tidegate.gates.checks.no_personal_data import PersonalData
from tidegate.gates.checks.shared_by_many import SharedByMany
from tidegate.gates.decide import decide, judge
from tidegate.gates.digest import canonical
from tidegate.gates.expectations import judge_kept
from tidegate.gates.masking import Masker
from tidegate.gates.policy.nouns import GateUse, Policy
from tidegate.gates.routing import route, row_gates
from tidegate.gates.signals import compute, feedback, names
from tidegate.gates.signals.compute import READ, Settings, chunks
from tidegate.gates.signals.contamination import Protected
from tidegate.gates.signals.contradictions import Alike
from tidegate.gates.signals.personal_data import EVERYWHERE
from tidegate.gates.signals.prints import secret_key
from tidegate.gates.signals.rare_tokens import TokenAuthors
from tidegate.gates.signals.secret_rules import BUILT_IN, SecretRules, load_rules
from tidegate.gates.signals.surrogates import epoch_key
from tidegate.gates.signals.topics import Topics
from tidegate.gates.trusted_limits import calibrated
from tidegate.gates.types import (
    Batch,
    BatchEvidence,
    Decision,
    Progress,
    Report,
    Ruling,
    ignore_progress,
)

FEEDBACK = {"honest_feedback", "supported_preferences", "varied_corrections"}
PROMOTION = "no_unsupported_promotion"


@dataclass(frozen=True)
class Checked:
    """What the data gates made of a batch."""

    evidence: BatchEvidence
    rulings: tuple[Ruling, ...]
    decision: Decision
    kept: Path  # Parquet in the batch's schema: what may be learned
    rows: int  # kept, masked ones included
    masked: int
    quarantined: int
    refused: frozenset[str]  # ids that were quarantined or came without consent
    gates: tuple[GateCount, ...]
    docs: Path | None  # folder of Great Expectations' pages
    later: Mapping[str, datetime] = field(default_factory=dict)  # ids to look up, from when on
    notes: tuple[str, ...] = ()  # what of the policy's rule files was left out, and why


def check(
    batch: Batch,
    policy: Policy,
    *,
    home: Home,
    arrived: Path,
    out: Path,
    protected: Sequence[str] = (),
    trusted: Trusted | None = None,
    emit_kept: bool = False,
    engine: str | None = None,
    progress: Report = ignore_progress,
    now: datetime | None = None,
) -> Checked:
    """Judge a batch by the data gates of a policy; write what was found and kept into `out`.

    arrived: the folder that ingest wrote its lists to (dropped.jsonl).
    protected: texts that must not be learned, those of the evaluation suites.
    trusted: what an earlier batch taught already, and the limits that it was calibrated to.
    emit_kept: also write kept.jsonl, the messages exactly as a trainer would see them.
    engine: where records are measured (see flows/checking/engines.py); else $TIDEGATE_ENGINE.
    now: aware; the time that releases must be valid at. None: the clock is read, once.

    Writes kept.parquet, records.jsonl (every record), signals.parquet (numbers only),
    contradictions.jsonl where a gate asks for them (ids, and in what they differ),
    quarantine.parquet (ids and gates), decision.json and data_docs/. The quarantined
    records themselves go to the home, not to `out`. Run again, it decides the same.
    Raises RuleError for a rule file that cannot be used, GatewayKeyError for such a key, and
    UsageError for a batch that is its own trusted one or holds what was erased, and for an
    engine that is not there.
    """
    if trusted and trusted.about.batch == batch.digest:
        raise UsageError(
            f"{batch.digest}: a batch cannot vouch for itself; trust an earlier one"
        )
    now = now or datetime.now(UTC)
    out.mkdir(parents=True, exist_ok=True)
    dropped = output.read_dropped(arrived)
    gates = row_gates(calibrated(policy.data, trusted.limits) if trusted else policy.data)
    source = home.batch(batch.digest) / RECORDS
    Erased(home).refuse(source)
    settings = _settings(home, batch, source, policy.data, protected, trusted)

    with engines.chosen(engine, home, batch.digest) as parts, scratch_folder(home) as work:
        before = compute.measure(source, settings, progress, parts)
        output.write_table(out / "signals.parquet", before.table())
        excused = find_excused(home, batch.digest, policy, source, before.ids, now)
        routes = route(gates, before.columns, before.rows, excused=excused.by_gate)
        ids = before.ids
        stated, kinds = before.stated, write_opposed(before, settings, out)
        del before  # a million records' signals and fingerprints are half a gigabyte
        key = epoch_key(pseudonym_key(home), batch.digest)
        masker = Masker.of(gates, settings.rules, key, settings.authors, settings.names)
        masking = Masking(routes, masker)
        draft = work / "kept.parquet"
        write_records(draft, masking.applied(source, progress))
        if stated is not None:
            # As they came: a stand-in for a number is another number than that of before.
            settings = replace(settings, stated=stated.of(~routes.quarantine))
        after = compute.measure(draft, settings, _again(progress), parts)
        fates, after, chosen = settled(ids, masking, after, gates, settings, excused.by_gate)
        output.write_kept(draft, chosen, out / "kept.parquet")

    released = excused.released(gates, after, fates)
    fates = replace(fates, marks=(*fates.marks, *excused.named(routes, fates), *released.marks))
    judged = judge_kept(
        released.allowed(gates),
        after.columns,
        after.rows,
        min_rows=_min_rows(policy.data),
        docs=out / "data_docs",
    )
    counts = count_by_gate(gates, routes, fates)
    later = looked_up(gates, after)
    evidence = data_evidence(
        batch,
        gates,
        counts,
        judged,
        settings,
        fates,
        released,
        after,
        trusted,
        kinds,
        len(later),
    )
    rulings = judge(policy, evidence)
    checked = Checked(
        evidence=evidence,
        rulings=rulings,
        decision=decide(rulings),
        kept=out / "kept.parquet",
        rows=after.rows,
        masked=int(fates.masked.sum()),
        quarantined=int(fates.quarantined.sum()),
        refused=frozenset(fates.ids[fates.quarantined]) | {row["id"] for row in dropped},
        gates=counts,
        docs=judged.docs,
        later=later,
        notes=settings.rules.notes,
    )
    output.write_quarantine(
        home, batch.digest, policy.digest, source, fates, out / "quarantine.parquet", now
    )
    output.write_said(fates, dropped, out / "records.jsonl")
    if emit_kept:
        output.write_trained_on(checked.kept, out / "kept.jsonl")
    document = decision_document(checked.decision, policy, batch, checked.quarantined)
    output.write_bytes(out / "decision.json", canonical(document) + b"\n")
    return checked


def decision_document(
    decision: Decision, policy: Policy, batch: Batch, quarantined: int
) -> dict[str, Any]:
    """The decision as decision.json and `--json` have it."""
    return {
        "action": str(decision.action),
        "rulings": [
            {
                "gate": ruling.title,
                "outcome": str(ruling.verdict.outcome),
                "action": str(ruling.action),
                "observed": ruling.verdict.observed,
                "limit": ruling.verdict.limit,
                "reason": ruling.verdict.reason,
            }
            for ruling in decision.rulings
        ],
        "policy": {"name": policy.policy, "digest": policy.digest},
        "batch": {"digest": batch.digest, "rows": batch.rows, "quarantined": quarantined},
    }


def _settings(
    home: Home,
    batch: Batch,
    source: Path,
    uses: Sequence[GateUse],
    protected: Sequence[str],
    trusted: Trusted | None,
) -> Settings:
    """What the signals are measured with: what the gates of the policy ask for."""
    known = trusted.known if trusted else None
    key = known.key if known else batch.digest.removeprefix("sha256:")[:16]
    order = secret_key(pseudonym_key(home), batch.digest)
    asked = {use.gate: use.params for use in uses}
    lanes, quotas = lanes_and_quotas(home, batch.digest, source, asked, order)
    facts = asked.get("no_contradictions")
    personal, shared = asked.get("no_personal_data"), asked.get("shared_by_many")
    return Settings(
        rules=_rules(uses),
        key=key,
        protected=Protected(protected, key) if protected else None,
        received=batch.rows,
        locales=frozenset(personal.locales)
        if isinstance(personal, PersonalData)
        else EVERYWHERE,
        authors=TokenAuthors.of(chunks(source, READ), shared.authors, key)
        if isinstance(shared, SharedByMany)
        else None,
        order=order,
        lanes=lanes,
        quotas=quotas,
        triggers="no_triggers" in asked,
        feedback=None
        if FEEDBACK.isdisjoint(asked)
        else Topics.of(feedback.asked(table, key) for table in chunks(source, READ)),
        known=known,
        claims="no_floods" in asked,
        promotions=PROMOTION in asked,
        alike=Alike(facts.questions, facts.exchanges)
        if isinstance(facts, Contradictions)
        else None,
        history=taught_before(
            home,
            batch.digest,
            source,
            key,
            names=PROMOTION in asked,
            votes="honest_feedback" in asked,
            facts=facts is not None,
        ),
        names=names.load() if isinstance(personal, PersonalData) and personal.names else None,
    )


def _rules(uses: Sequence[GateUse]) -> SecretRules:
    """The built-in rules, and those that the policy adds."""
    more = [getattr(use.params, "more_rules", None) for use in uses]
    return load_rules(BUILT_IN, *(Path(path) for path in more if path))


def _min_rows(uses: Sequence[GateUse]) -> int:
    return max((getattr(use.params, "min_rows", 1) for use in uses), default=1)


def _again(progress: Report) -> Report:
    return lambda p: progress(Progress("signals of what is kept", p.done, p.total, p.unit))
