"""Ingest: from what deployment hands over to one immutable batch, and a list of the rest.

    find → read → shape → check → pseudonym → sort, distinct → batch

Every row of every drop ends in exactly one place: in the batch, in unreadable.jsonl, in
dropped.jsonl for want of consent, as a counted duplicate of another row, or, if its record or
author was erased, counted with those without consent and named nowhere. Memory is bounded
by the largest rows, not by the size of the drop.
"""

import errno
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Self

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.flows.erasing.tombstones import Erased
from tidegate.flows.home import Home
from tidegate.flows.intake import batches
from tidegate.flows.intake.columns import Columns
from tidegate.flows.intake.connectors import chat, sharegpt
from tidegate.flows.intake.connectors.drops import find
from tidegate.flows.intake.connectors.record import read_record
from tidegate.flows.intake.connectors.rows import IngestError, Source, Unreadable
from tidegate.flows.intake.pseudonym import is_pseudonym, pseudonym, pseudonym_key
from tidegate.flows.intake.scratch import scratch_folder
from tidegate.flows.intake.sorting import OtherContent, SortedRuns
from tidegate.gates.types import Batch, Progress, Record, Report, ignore_progress

__all__ = ["DEFAULTS", "IngestError", "ingest"]

DEFAULTS = ("source", "user", "time", "consent")
NEEDED = DEFAULTS[:3]  # without consent rows are dropped; without these they cannot be read
NO_DEFAULTS: Mapping[str, object] = MappingProxyType({})
EVERY = 10_000  # rows between two reports of progress
OF_A_RECORD = {"id", "time", "user", "consent"}  # any of these: the row speaks for itself

REMEDY = {
    errno.ENOSPC: "free some space on the disk",
    errno.EDQUOT: "free some space within the quota",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.ENOTDIR: "a file is where a folder should be; name another folder",
    errno.EEXIST: "a file is where a folder should be; name another folder",
}
OTHERWISE = "see that this user may write there, or name another folder"

Shape = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def ingest(
    drops: Sequence[str | Path],
    *,
    home: Home,
    out: Path,
    pseudonym_key: bytes,
    now: datetime | None = None,
    defaults: Mapping[str, object] = NO_DEFAULTS,
    progress: Report = ignore_progress,
) -> Batch:
    """Read drops into home.batch(digest) and list what is left out in `out`.

    `drops`: files, folders, globs, `mlflow:EXPERIMENT` or `mlflow:TRACKING_URI#EXPERIMENT`.
    `pseudonym_key`: of this home. `now`: aware; rows from more than a day after it are
    unreadable; none: the clock is read, once. `defaults`: `source`, `user`, `time` and `consent` of rows in formats
    that cannot say them; never put in the place of what a record should say itself.

    Writes out/unreadable.jsonl (`file`, `line`, `reason`) and out/dropped.jsonl (`id`, `gate`,
    `detail`). The counts returned are those of these drops: two drops with the same records
    make one batch, and may differ in the rest.

    Raises IngestError if a drop cannot be read at all, has no rows, or gives one id to two
    contents, and if the home or `out` cannot be written.
    """
    now = now or datetime.now(UTC)
    said = _checked(defaults, now)
    sources = find(drops, home, said)
    with (
        _written(home.root),
        scratch_folder(home) as work,
        _List(out, "unreadable.jsonl") as unreadable,
        _List(out, "dropped.jsonl") as dropped,
    ):
        (work / "runs").mkdir()
        (work / "batch").mkdir()
        runs = SortedRuns(work / "runs")
        try:
            read, erased = _collect(
                sources, runs, unreadable, pseudonym_key, Erased(home), now, said, progress
            )
            if not read:
                raise IngestError(
                    f"{', '.join(map(str, drops))}: there is not one row; see that the export "
                    "that wrote it came to its end"
                )
            made = _write(work / "batch" / batches.RECORDS, runs, dropped, progress)
        except OtherContent as no:
            first, second = (f"{sources[f].name}:{line}" for f, line in (no.first, no.second))
            raise IngestError(
                f"{first} and {second}: the same id, but other content or consent; keep the "
                "row that is right, or give one of them an id of its own"
            ) from no
        batch = Batch(
            digest=made.digest,
            rows=made.rows,
            read=read,
            unreadable=unreadable.count,
            without_consent=dropped.count + erased,
            duplicates=runs.duplicates,
            sources=made.sources,
            first=made.first,
            last=made.last,
        )
        home.batch(batch.digest).parent.mkdir(parents=True, exist_ok=True)
        batches.publish(work / "batch", batch, home)
        unreadable.publish()
        dropped.publish()
    return batch


def _collect(
    sources: Sequence[Source],
    runs: SortedRuns,
    unreadable: "_List",
    key: bytes,
    erased: Erased,
    now: datetime,
    defaults: Mapping[str, Any],
    progress: Report,
) -> tuple[int, int]:
    """Every row of every source, checked, into sorted runs: the rows read, and the erased."""
    read, left_out, columns = 0, 0, Columns()
    for number, source in enumerate(sources):
        for line, found in _records(source, now, defaults):
            read += 1
            if read % EVERY == 0:
                progress(Progress("ingest", read, None, "rows"))
            if isinstance(found, Unreadable):
                unreadable.add(file=source.name, line=line, reason=found.reason)
                continue
            author = _author(source, found.user, key)
            if erased.names(found.id, author):
                left_out += 1
                continue
            columns.add(found, author, number, line)
            if columns.full:
                runs.add(columns.take())
    runs.add(columns.take())
    progress(Progress("ingest", read, read, "rows"))
    return read, left_out


def _records(
    source: Source, now: datetime, defaults: Mapping[str, Any]
) -> Iterator[tuple[int, Record | Unreadable]]:
    """Every row of a source with its line: the Record that it is, or why it is none."""
    shape: Shape | None = None
    for row in source.rows():
        try:
            if isinstance(row.value, Unreadable):
                raise row.value
            shape = shape or _shape(row.value, f"{source.name}:{row.line}", defaults)
            yield row.line, read_record(shape(row.value) if shape else row.value, now)
        except Unreadable as no:
            yield row.line, no


def _author(source: Source, user: str, key: bytes) -> str:
    """The author's pseudonym. What this home wrote has it already: made anew, it would be
    another author to caps, votes and erasures."""
    return user if source.ours and is_pseudonym(user) else pseudonym(key, user)


def consenting_records(
    drops: Sequence[str | Path], home: Home, now: datetime, defaults: Mapping[str, object]
) -> Iterator[Record]:
    """All rows of the drops that a batch would hold, as they come; writes nothing.

    Arguments and errors as of `ingest`, but that drops without a row, and a folder or a glob from
    which all was taken away, are no error.
    """
    said, erased = _checked(defaults, now), Erased(home)
    for source in find(drops, home, said, emptied=True):
        for _, found in _records(source, now, said):
            if isinstance(found, Unreadable) or not found.consent:
                continue
            # Whoever was erased was here once, so the key is there: nothing is written.
            if erased.wanted and erased.names(
                found.id, _author(source, found.user, pseudonym_key(home))
            ):
                continue
            yield found


def _shape(value: Mapping[str, Any], where: str, defaults: Mapping[str, Any]) -> Shape | None:
    """How the source's rows become Records, by the first row that shows it.

    Raises IngestError if the form is one that needs defaults and there are none.
    """
    if "messages" in value and value.keys() & OF_A_RECORD:
        return lambda record: record
    if "messages" not in value and "conversations" not in value:
        return None  # no form known; such a row is no Record, and the next one may tell
    absent = [name for name in NEEDED if name not in defaults]
    if absent:
        raise IngestError(
            f"{where}: rows of this form do not say {', '.join(absent)}; give "
            + " ".join(f"--default {name}=…" for name in absent)
            + ", and --default consent=true if everybody in it agreed"
        )
    to_record = chat.to_record if "messages" in value else sharegpt.to_record
    return lambda foreign: to_record(foreign, defaults)


def _checked(defaults: Mapping[str, object], now: datetime) -> dict[str, Any]:
    """The defaults as a record would hold them. Raises IngestError if it could not."""
    for name in defaults:
        if name not in DEFAULTS:
            raise IngestError(f"--default {name}: there are only {', '.join(DEFAULTS)}")
    said: dict[str, Any] = dict(defaults)
    time, consent = said.get("time"), said.get("consent")
    if isinstance(time, datetime):
        said["time"] = time.isoformat()
    if isinstance(consent, str):
        if consent.lower() not in ("true", "false"):
            raise IngestError("--default consent: write true or false")
        said["consent"] = consent.lower() == "true"
    exchange = [{"role": "user", "content": ""}, {"role": "assistant", "content": ""}]
    example = {"source": "-", "user": "-", "time": now.isoformat(), **said}
    try:
        read_record({**example, "id": "-", "messages": exchange}, now)
    except Unreadable as no:
        raise IngestError(f"--default {no.reason}") from no
    return said


class _Made(NamedTuple):
    digest: str
    rows: int
    sources: dict[str, int]
    first: datetime | None
    last: datetime | None


def _write(path: Path, runs: SortedRuns, dropped: "_List", progress: Report) -> _Made:
    """Merge the runs into the Parquet file; those without consent into the list."""
    digests, sources, times, done = bytearray(), Counter[str](), list[datetime](), 0

    def kept() -> Iterator[pa.Table]:
        nonlocal done
        for table in runs.merged():
            for identity in table.filter(pc.invert(table["consent"]))["id"].to_pylist():
                dropped.add(id=identity, gate="has_consent", detail="no consent")
            table = table.filter(table["consent"])
            digests.extend(b"".join(table["digest"].to_pylist()))
            sources.update(table["source"].to_pylist())
            if table.num_rows:
                ends = pc.min_max(table["time"]).as_py()
                times[:] = [min(times[:1] + [ends["min"]]), max(times[1:] + [ends["max"]])]
            done += table.num_rows
            progress(Progress("sort", done, None, "records"))
            yield table.select(batches.SCHEMA.names)

    batches.write_records(path, kept())
    digest = batches.batch_digest(digests)
    first, last = (when.astimezone(UTC) for when in times) if times else (None, None)
    return _Made(digest, done, dict(sorted(sources.items())), first, last)


class _List:
    """A JSON Lines file that appears under its name when it is whole, or not at all."""

    def __init__(self, folder: Path, name: str) -> None:
        self.count = 0
        self._path, self._draft = folder / name, folder / f".{name}.part"
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with _written(self._path.parent):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._stack.enter_context(self._draft.open("wb"))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._draft.unlink(missing_ok=True)

    def add(self, **line: object) -> None:
        with _written(self._path.parent):
            self._file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        self.count += 1

    def publish(self) -> None:
        with _written(self._path.parent):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._draft.replace(self._path)


@contextmanager
def _written(folder: Path) -> Iterator[None]:
    """Say of every failure to write where it was and what would do."""
    try:
        yield
    except OSError as no:
        what = no.strerror or type(no).__name__
        remedy = REMEDY.get(no.errno or 0, OTHERWISE)
        raise IngestError(f"{folder}: cannot be written ({what}); {remedy}") from no
