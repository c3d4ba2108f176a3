"""All signals of a batch: one pass over the text in chunks, then counts over fingerprints.

A signal is a number about a record, and NaN where it could not be measured: of a record
that is too long to be examined, no detector says anything, and every gate counts it as a
hit. Memory: one chunk of text, and under two kilobytes a record for numbers, hashes of words and
fingerprints.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tidegate.gates.signals import (
    authenticity,
    caps,
    claims,
    completeness,
    contradictions,
    copies,
    corrections,
    harm,
    injections,
    mentions,
    personal_data,
    prints,
    promotions,
    second_orders,
    secrets,
    statements,
    support,
    triggers,
    unicode_tricks,
    votes,
    votes_over_drops,
    words,
)
from tidegate.gates.signals.authenticity import Lanes
from tidegate.gates.signals.contamination import Protected
from tidegate.gates.signals.contradictions import Alike, Found
from tidegate.gates.signals.feedback import Feedback, Voices, joined
from tidegate.gates.signals.history import History
from tidegate.gates.signals.known import DOMAIN, Known
from tidegate.gates.signals.mentions import Mentions
from tidegate.gates.signals.names import Names
from tidegate.gates.signals.prints import Prints
from tidegate.gates.signals.quotas import Quotas
from tidegate.gates.signals.rare_tokens import TokenAuthors
from tidegate.gates.signals.secret_rules import SecretRules
from tidegate.gates.signals.statements import Statements
from tidegate.gates.signals.text import LIMIT, joined_text
from tidegate.gates.signals.topics import Topics
from tidegate.gates.signals.words import Exchanges
from tidegate.gates.types import Progress, Report, ignore_progress

CHUNK = 4096  # records
READ = [
    "id", "time", "source", "user", "messages", "rating", "correction", "comment", "prompt",
    "response", "valid_from",
]  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """What the signals are measured with."""

    rules: SecretRules
    key: str  # 16 characters, of the batch's digest: keys the hashes
    protected: Protected | None  # none: the overlap is not measured, and its column is absent
    received: int  # rows of the batch before anything was quarantined
    locales: frozenset[str] = personal_data.EVERYWHERE
    authors: TokenAuthors | None = None  # none: rare words are not measured
    order: str | None = None  # of prints.secret_key: who is first; none: `key`
    lanes: Lanes | None = None  # none: neither lanes nor quotas are measured
    quotas: Quotas | None = None
    triggers: bool = False  # they cost as much as all the rest: only where a gate asks
    feedback: Topics | None = None  # of the whole batch; none: feedback is not measured
    established: np.ndarray | None = None  # sorted hashes of authors known from before
    known: Known | None = None  # none: nothing is known yet, and no domain is unseen
    claims: bool = False
    promotions: bool = False
    history: History | None = None  # of earlier batches; none: there are none
    alike: Alike | None = None  # none: contradictions are not measured
    stated: Statements | None = None  # what the records say; none: read off them
    names: Names | None = None  # of what is masked beyond the signals; none: nothing


@dataclass(frozen=True)
class Signals:
    """Columns of numbers (float32, NaN where not measured), one row a record."""

    ids: np.ndarray
    columns: dict[str, np.ndarray]
    prints: Prints
    voices: Voices | None = None  # none: feedback is not measured
    stated: Statements | None = None  # none: contradictions are not measured
    opposed: Found | None = None  # what contradicts what, where that is measured

    @property
    def rows(self) -> int:
        return len(self.ids)

    def of(self, keep: np.ndarray, settings: Settings) -> "Signals":
        """The signals of a batch that holds only some of the records."""
        columns = {name: values[keep] for name, values in self.columns.items()}
        voices = self.voices and self.voices.of_records(keep)
        stated = self.stated and self.stated.of(keep)
        left = Signals(self.ids[keep], columns, self.prints.rows(keep), voices, stated)
        return left._counted(settings)

    def _counted(self, settings: Settings) -> "Signals":
        """With the signals that depend on the other records of the batch."""
        counts = {
            **copies.measure(self.prints, settings.known),
            **caps.measure(self.prints, settings.received),
        }
        if self.voices is not None:
            counts |= support.measure(self.voices, self.rows)
        if settings.lanes is not None and settings.lanes.keys:
            counts |= authenticity.counted(self.columns["lane"], self.prints)
        if settings.quotas is not None:
            counts |= settings.quotas.counted(self.columns, self.prints)
        opposed = None
        if self.stated is not None and settings.alike is not None:
            before = settings.history.stated if settings.history is not None else None
            opposed = contradictions.find(self.stated, before, settings.alike)
            counts |= opposed.columns(self.stated)
        return replace(self, columns={**self.columns, **counts}, opposed=opposed)

    def table(self) -> pa.Table:
        """As a table of an id and numbers, without any text."""
        numbers = {name: pa.array(v, from_pandas=True) for name, v in self.columns.items()}
        return pa.table({"id": pa.array(self.ids, type=pa.string()), **numbers})


class Part(NamedTuple):
    """What a chunk of records alone can say."""

    ids: list[str]
    columns: dict[str, np.ndarray]
    prints: Prints
    said: Exchanges | None  # none: triggers are not measured
    rated: Feedback | None  # rows counted from 0 in the part; none: feedback is not measured
    named: Mentions | None = None  # none: promotions are not measured
    stated: Statements | None = None  # none: contradictions are not, or all is known already


Map = Callable[[Path, Settings, Report], Iterator[Part]]  # a batch's parts, in its order


def in_this_process(path: Path, settings: Settings, progress: Report) -> Iterator[Part]:
    """The parts of a batch's Parquet file, one chunk after another."""
    total, done = pq.read_metadata(path).num_rows, 0
    for table in chunks(path, READ):
        yield part_of(table, settings)
        done += table.num_rows
        progress(Progress("signals", done, total, "records"))


def measure(
    path: Path,
    settings: Settings,
    progress: Report = ignore_progress,
    parts: Map = in_this_process,
) -> Signals:
    """Measure every signal of every record of a batch's Parquet file.

    parts: where the records are measured one by one; see engines. The result is the same.
    """
    total = pq.read_metadata(path).num_rows
    ids = np.empty(total, dtype=object)
    columns: dict[str, np.ndarray] = {}
    fingerprints = Prints.empty(total)
    said = words.Collected()
    rated: list[Feedback] = []
    named: list[Mentions] = []
    told: list[Statements] = []
    voices = None
    done = 0
    # The model of names is for masking, and history for sums: no other process needs them.
    alone = replace(settings, names=None, history=None, stated=None)
    if settings.stated is not None:
        alone = replace(alone, alike=None)
    for part in parts(path, alone, progress):
        rows = slice(done, done + len(part.ids))
        ids[rows] = part.ids
        for name, values in part.columns.items():
            columns.setdefault(name, np.empty(total, dtype=np.float32))[rows] = values
        fingerprints.put(done, part.prints)
        if part.said is not None:
            said.add(part.said)
        if part.rated is not None:
            rated.append(replace(part.rated, row=part.rated.row + done))
        if part.named is not None:
            named.append(part.named)
        if part.stated is not None:
            told.append(part.stated)
        done += len(part.ids)
    if done != total:
        raise ValueError(f"{path}: {done} of {total} records were measured")
    pa.default_memory_pool().release_unused()  # by the chunks; the counts need room now
    everything = said.taken()
    if everything is not None:
        columns |= _by_words(everything, settings)
        if settings.claims:
            columns |= claims.measure(everything, fingerprints.author)
            if settings.known:  # the usual answer, as often as usual, claims nothing new
                columns[claims.CLAIM][settings.known.answered(fingerprints)] = 0
    del everything
    if named:
        columns |= promotions.measure(
            mentions.joined(named), fingerprints.author, settings.known, settings.history
        )
        named.clear()
    if settings.feedback is not None:
        whole = joined(rated)
        voices = Voices.of(whole, fingerprints)
        columns |= votes.measure(whole, voices, total, settings.feedback, settings.established)
        columns |= votes_over_drops.measure(
            whole, fingerprints, total, settings.feedback, settings.history
        )
        columns |= corrections.measure(whole, total)
    stated = settings.stated or (statements.joined(told) if told else None)
    return Signals(ids, columns, fingerprints, voices, stated)._counted(settings)


def _by_words(said: Exchanges, settings: Settings) -> dict[str, np.ndarray]:
    found = triggers.measure(said, settings.known) if settings.triggers else {}
    return found | ({DOMAIN: settings.known.unknown(said)} if settings.known else {})


def part_of(table: pa.Table, settings: Settings) -> Part:
    """What a chunk of records alone can say."""
    asked = settings.triggers or settings.claims or settings.known
    return Part(
        ids=table.column("id").to_pylist(),
        columns=measure_chunk(table, settings),
        prints=prints.take(table, settings.key, settings.order),
        said=words.take(table, settings.key) if asked else None,
        rated=Feedback.take(table, 0, settings.key) if settings.feedback is not None else None,
        named=Mentions.take(table, settings.key) if settings.promotions else None,
        stated=Statements.take(table, settings.key) if settings.alike else None,
    )


def chunks(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """A Parquet file in tables of at most CHUNK rows; an empty one if there are no rows."""
    with pq.ParquetFile(path) as file:
        some = False
        for batch in file.iter_batches(batch_size=CHUNK, columns=columns):
            some = True
            yield pa.Table.from_batches([batch])
        if not some:
            yield file.schema_arrow.empty_table().select(columns or file.schema_arrow.names)


def measure_chunk(table: pa.Table, settings: Settings) -> dict[str, np.ndarray]:
    """The signals that need nothing but the record itself."""
    text = joined_text(table)
    too_long = pc.greater(pc.binary_length(text), LIMIT).to_numpy(zero_copy_only=False)
    examined = pc.if_else(pa.array(too_long), "", text)
    folded = unicode_tricks.folded(examined)
    found = {
        **unicode_tricks.measure(examined),
        **personal_data.measure(folded, settings.locales),
        **secrets.measure(folded, settings.rules),
        **injections.measure(folded, table.column("response").combine_chunks()),
        **second_orders.measure(table),
        **harm.measure(table),
    }
    if settings.authors is not None:
        found |= settings.authors.measure(examined)
    if settings.protected is not None:
        found |= settings.protected.measure(table, folded)
    if settings.lanes is not None:
        found |= settings.lanes.measure(table)
        if settings.quotas is not None:
            found |= settings.quotas.measure(table, found["lane"])
    for values in found.values():
        values[too_long] = np.nan
    return {**completeness.measure(table, too_long), **found}
