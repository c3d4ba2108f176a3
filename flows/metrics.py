"""Numbers for a monitor, in Prometheus's text format, made from the ledger each time.

    tidegate metrics > /var/lib/node_exporter/textfile/tidegate.prom

Nothing is counted in passing, so nothing is lost with a process: the counters are what the
signed statements say. Labels are names of gates, models and outcomes; no text of users.
Source: Prometheus exposition format 0.0.4.
"""

import gzip
import zlib
from datetime import datetime

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    disable_created_metrics,
    generate_latest,
)
from pydantic import BaseModel, ValidationError

from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.looking_back.history import Entry, entry_of, read_stored
from tidegate.flows.standing import moves
from tidegate.gates.audit import BrokenLedger, Statement


class Cost(BaseModel):
    """Of what is kept about a training, what a monitor counts."""

    seconds: float
    tokens: int


class Metrics:
    """All counters and gauges of one home."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.entries = self._gauge("ledger_entries", "Entries of the ledger")
        self.acts = self._counter("acts", "Statements by what they record", "model", "act")
        self.decided = self._counter("decisions", "Updates by decision", "model", "action")
        self.rows = self._counter("rows", "Rows of decided updates by fate", "model", "fate")
        self.rulings = self._counter(
            "rulings", "Rulings by gate and outcome", "model", "gate", "outcome"
        )
        self.quarantined = self._counter(
            "quarantined_rows", "Rows that a gate put into quarantine", "model", "gate"
        )
        self.seconds = self._counter("training_seconds", "Time spent on training", "model")
        self.tokens = self._counter("training_tokens", "Tokens trained on", "model")
        self.lost = self._counter("evidence_lost", "Updates whose evidence is gone", "model")
        self.observed = self._gauge(
            "gate_observed", "What each gate saw of the last promoted version", "model", "gate"
        )
        self.limit = self._gauge(
            "gate_limit", "The limit beside gate_observed", "model", "gate"
        )
        self.since = self._gauge(
            "champion_since_seconds", "When the champion came to serve (Unix time)", "model"
        )

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"tidegate_{name}", what, labels, registry=self.registry)

    def _gauge(self, name: str, what: str, *labels: str) -> Gauge:
        return Gauge(f"tidegate_{name}", what, labels, registry=self.registry)


def exposition(home: Home) -> bytes:
    """The text that Prometheus scrapes. Raises BrokenLedger."""
    # Or they would say that all was first counted now. The package leaves it without types.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    found = Metrics()
    written = Ledger(home.ledger).read()
    found.entries.set(len(written))
    superseded = {record["predicate"]["about"].get("supersedes") for _, record in written}
    for digest, record in written:
        predicate = record["predicate"]
        model, act = predicate["model"], predicate["act"]
        found.acts.labels(model, act).inc()
        if act == "decide" and digest not in superseded:
            _count(found, home, model, entry_of(digest, record))
    for model in {record["predicate"]["model"] for _, record in written} - {""}:
        _champion(found, model, written)
    return generate_latest(found.registry)


def _count(found: Metrics, home: Home, model: str, entry: Entry) -> None:
    about = entry.record["predicate"]["about"]
    found.decided.labels(model, entry.action).inc()
    batch, quarantined = about["batch"], about["quarantined"]
    for fate, rows in (
        ("kept", batch["rows"] - quarantined),
        ("quarantined", quarantined),
        ("unreadable", batch["unreadable"]),
        ("without_consent", batch["without_consent"]),
    ):
        found.rows.labels(model, fate).inc(rows)
    for ruling in entry.rulings:
        found.rulings.labels(model, ruling.gate, ruling.outcome).inc()
    try:
        data = read_stored(home, entry, "evidence_data", "evidence/data")
        trained = _training(home, entry) if about.get("training") else None
    except BrokenLedger:  # of this one update: its files are gone or changed
        found.lost.labels(model).inc()
        return
    for measured in data["measurements"]:
        gate, _, what = measured["name"].partition(".")
        if what == "quarantined_share" and gate != "data":
            rows = round(measured["value"] * measured["n"])
            found.quarantined.labels(model, gate).inc(rows)
    if trained is not None:
        found.seconds.labels(model).inc(trained.seconds)
        found.tokens.labels(model).inc(trained.tokens)


def _training(home: Home, entry: Entry) -> Cost:
    """What training cost. The file is no subject of the statement: good enough for a monitor."""
    path = home.updates / entry.update_id / "evidence" / "training.json.gz"
    try:
        return Cost.model_validate_json(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, zlib.error, ValidationError) as no:
        raise BrokenLedger(f"{path}: cannot be read ({type(no).__name__})") from None


def _champion(found: Metrics, model: str, written: list[tuple[str, Statement]]) -> None:
    moved = list(moves(written, model))
    if not moved:
        return
    said = moved[-1].record["predicate"]
    found.since.labels(model).set(datetime.fromisoformat(said["decidedAt"]).timestamp())
    promoted = [move for move in moved if move.act == "decide"]
    for ruled in (
        entry_of(promoted[-1].statement, promoted[-1].record).rulings if promoted else ()
    ):
        for gauge, number in ((found.observed, ruled.observed), (found.limit, ruled.limit)):
            if number is not None:
                gauge.labels(model, ruled.gate).set(float(number))
