"""`tidegate calibrate-data`: from a batch that somebody trusts to what is known, and limits.

    find or ingest → check → words and fingerprints → split in halves, again and again → store

What the policy's own data gates keep of the batch is learned from, masked as a trainer would
see it. A batch that they refuse is not trusted; a person who looked at it may say so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.evals.suite import find_suites
from tidegate.flows.check import Checked, check
from tidegate.flows.home import Home
from tidegate.flows.ingest import ingest
from tidegate.flows.intake.batches import RECORDS, load_batch
from tidegate.flows.intake.pseudonym import pseudonym_key
from tidegate.flows.intake.scratch import scratch_folder
from tidegate.flows.rules import require_extras
from tidegate.flows.trusting.store import (
    DataCalibration,
    Limit,
    Trusted,
    key_name,
    sketch_key,
    sketches,
    store,
)
from tidegate.flows.usage import UsageError
from tidegate.gates.digest import digest_bytes
from tidegate.gates.policy.nouns import GateUse, Policy
from tidegate.gates.signals import compute, nulls, prints, words
from tidegate.gates.signals.known import MOST, Known
from tidegate.gates.signals.prints import Prints
from tidegate.gates.signals.text import LIMIT, joined_text
from tidegate.gates.signals.words import Exchanges
from tidegate.gates.trusted_limits import Calibrated
from tidegate.gates.types import Action, Batch, Progress, Report, ignore_progress


def calibrate(
    trusted: str,
    policy: Policy,
    home: Home,
    *,
    seeds: int,
    rate: float,
    reviewed: bool = False,
    defaults: Mapping[str, object] | None = None,
    progress: Report = ignore_progress,
) -> Trusted:
    """Learn what is known from a trusted batch, and store it in the home.

    trusted: digest of a batch in the home, or a drop. seeds: how often it is split.
    rate: share of clean records that a limit may hit. reviewed: a person looked at what the
    gates refuse of it, and trusts it too.

    Raises UsageError if the gates refuse the batch, or too little of it is left.
    """
    require_extras(policy)
    with scratch_folder(home) as work:
        batch = _found(trusted, home, work, defaults or {}, progress)
        if reviewed:
            source = home.batch(batch.digest) / RECORDS
        else:
            source = _kept(batch, policy, home, work, progress).kept
        key = sketch_key(home, batch.digest)
        said, marks = _read(source, key)
    if said.rows < 2:
        raise UsageError(
            f"{trusted}: {said.rows} records are left of it: nothing to learn from"
        )
    progress(Progress("splitting the trusted batch", 0, seeds, "seeds"))
    found, usual = nulls.of(said, marks, key, range(seeds), rate)
    usual = max(usual, 1 / said.rows)  # a batch that knows all its words knows no others
    known = replace(Known.of(said, marks, key), usual=usual)
    data = sketches(known)
    about = DataCalibration(
        batch=batch.digest,
        policy=policy.digest,
        learned_from="reviewed" if reviewed else "kept",
        rows=said.rows,
        usual=usual,
        seeds=tuple(range(seeds)),
        rate=rate,
        limits={name: Limit(**null._asdict()) for name, null in found.items()},
        sketches=digest_bytes(data),
        key=key_name(home, batch.digest),
    )
    store(home, about, data)
    return Trusted(about, known)


def _found(
    trusted: str, home: Home, work: Path, defaults: Mapping[str, object], progress: Report
) -> Batch:
    if trusted.startswith("sha256:"):
        (work / "dropped.jsonl").touch()  # ingest dropped what it had to when it came
        return load_batch(home, trusted, thorough=True)
    return ingest(
        [trusted],
        home=home,
        out=work,
        pseudonym_key=pseudonym_key(home),
        defaults=defaults,
        progress=progress,
    )


def _kept(batch: Batch, policy: Policy, home: Home, work: Path, progress: Report) -> Checked:
    """The batch by the policy's data gates, but for what only a trusted batch can answer."""
    checked = check(
        batch,
        policy.model_copy(update={"data": _alone(policy.data), "parent": None}),
        home=home,
        arrived=work,
        out=work / "check",
        protected=[text for suite in find_suites() for text in suite.texts()],
        progress=progress,
    )
    if checked.decision.action is not Action.PROMOTE:
        stood = [r.title for r in checked.rulings if r.action is not Action.PROMOTE]
        raise UsageError(
            f"{batch.digest}: its own data gates do not pass it ({', '.join(stood)}), so it is "
            "not known to be clean; name another batch, or look at what they refuse and say "
            "--reviewed"
        )
    return checked


def _alone(uses: Sequence[GateUse]) -> tuple[GateUse, ...]:
    """Gates as they are before there is any trusted batch: the first must come from somewhere."""
    return tuple(
        use.model_copy(update={"params": use.params.model_copy(update={"trusted": "optional"})})
        if isinstance(use.params, Calibrated)
        else use
        for use in uses
        if use.gate != "known_domain"
    )


def _read(source: Path, key: str) -> tuple[Exchanges, Prints]:
    """Words and fingerprints of a batch's records, or of MOST that the key draws."""
    parts, marks = [], []
    for table in compute.chunks(source, compute.READ):
        table = table.filter(pa.array(_examined(table)))
        parts.append(words.take(table, key))
        marks.append(prints.take(table, key))
    said, every = words.joined(parts), prints.joined(marks)
    if said.rows <= MOST:
        return said, every
    chosen = np.sort(np.argsort(every.order, kind="stable")[:MOST])
    return nulls.rows_of(said, chosen), every.rows(chosen)


def _examined(table: pa.Table) -> np.ndarray:
    """What is too long to be examined is nothing to trust either."""
    lengths = pc.binary_length(joined_text(table))
    return np.asarray(lengths.to_numpy(zero_copy_only=False) <= LIMIT)
