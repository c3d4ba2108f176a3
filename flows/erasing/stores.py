"""Where rows of users lie below the home, and how they are taken out: each file whole or not.

    batches/*/records.parquet                 a batch is immutable: a smaller one takes its place
    updates/u-*/check, replay.parquet         rows, lists of ids, signals by id
    updates/u-*/train, scaled, blame          weights: removed
    …/rollouts                                what models wrote to questions of rows: all removed
    updates/u-*/update_suite                  questions made from rows: removed
    context/                                  records that are looked up
    modules/*/*/*.jsonl                       drops that wait for a line of their own
    updates/u-*/routes.jsonl                  ids of what a recipe's rules named
    updates/arrived/*/dropped.jsonl           ids of rows without consent
    replay/, learned/, quarantine/, trusted/, releases/
    cache/                                    what can be made again from any of these

Every step can be repeated: it looks at what is there now.
"""

import gzip
import json
import os
import re
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tidegate.flows import durable, learned
from tidegate.flows.checking import quarantine
from tidegate.flows.context import store
from tidegate.flows.context.route import ROUTES
from tidegate.flows.erasing import rollouts
from tidegate.flows.erasing.plan import Unfinished, Weights
from tidegate.flows.home import Home
from tidegate.flows.intake import batches
from tidegate.flows.intake.connectors.rows import IngestError
from tidegate.flows.intake.home_key import sync_folder
from tidegate.flows.intake.scratch import scratch_folder
from tidegate.flows.made_suites import FOLDER
from tidegate.flows.routing import modules
from tidegate.flows.tracing.marks import Marker
from tidegate.flows.tracing.record import lists_of_left_out
from tidegate.flows.tracing.wanted import Wanted, named_rows
from tidegate.gates.made import PAST

OUR_RESULT = re.compile(rb'"__(class|exc_type)__": "tidegate[.]')
WEIGHTS = ("train", "scaled", "blame")  # folders of an update that hold adapters


def row_files(home: Home) -> Iterator[Path]:
    """Every plain Parquet file that holds rows with their texts."""
    yield from sorted((home.root / "batches").glob(f"*/{batches.RECORDS}"))
    yield from sorted(home.updates.glob("u-*/check/kept.parquet"))
    yield from sorted(home.updates.glob("u-*/replay.parquet"))
    yield from sorted(home.replay.glob("*.parquet"))


def without(home: Home, digest: str, wanted: Wanted, update_id: str | None) -> str | None:
    """Store the batch without the wanted rows; its digest, or None if no row is left.

    update_id: whose kept rows stand in for a batch that was purged. The same rows, the same
    digest. Raises IngestError if neither is there.
    """
    source = home.batch(digest) / batches.RECORDS
    if not source.exists() and update_id is not None:
        source = home.updates / update_id / "check" / "kept.parquet"
    if not source.exists():
        raise IngestError(
            f"{home.batch(digest)}: the batch is gone, so that nothing can be learned from what "
            "is left of it; restore it from a backup, or erase with --no-rebuild"
        )
    rows = batches.filled(pq.read_table(source))
    rest = rows.filter(pc.invert(named_rows(home, rows, wanted)))
    if not rest.num_rows:
        return None
    batch = batches.described(rest)
    with scratch_folder(home) as work:
        (work / "batch").mkdir()
        batches.write_records(work / "batch" / batches.RECORDS, [rest.sort_by("id")])
        home.batch(batch.digest).parent.mkdir(parents=True, exist_ok=True)
        batches.publish(work / "batch", batch, home)
    return batch.digest


def forget_learned(home: Home, wanted: Wanted, replaced: Iterable[str]) -> None:
    """What is noted of authors. It needs ids, so it comes before the rows go.

    A batch that another one takes the place of would be counted twice: all of it goes.
    """
    for digest in replaced:
        (home.root / "learned" / f"{digest.removeprefix('sha256:')}.parquet").unlink(
            missing_ok=True
        )
    marker, ids = Marker(home), set[str]()
    for path in row_files(home):
        rows = pq.read_table(path, columns=["id", "user"])
        ids.update(rows.filter(named_rows(home, rows, wanted))["id"].to_pylist())
    learned.forget(
        home, [user for user in learned.authors(home) if wanted.names(marker, None, user)], ids
    )


def forget_quarantined(home: Home, wanted: Wanted) -> None:
    """Raises BrokenQuarantine if a batch of it cannot be read: purge that one first."""
    for digest in quarantine.batches(home):
        names = [
            name
            for table in quarantine.read(home, digest, columns=["id", "user"])
            for name in table.filter(named_rows(home, table, wanted))["id"].to_pylist()
        ]
        if names:
            quarantine.remove(home, digest, names)


def forget_context(home: Home, wanted: Wanted, replaced: Mapping[str, str | None]) -> None:
    """What is looked up. A batch that another one takes the place of hands its entries on.

    replaced: digests by digest; None for a batch of which no row is left.
    """
    _unlink(home.cache / "context.db")
    for path in store.files(home):
        _filter_lines(home, path, wanted)
        now = replaced.get(f"sha256:{path.stem}", path.stem)
        if now is None:
            _unlink(path)
        elif now != path.stem:
            path.rename(path.with_stem(now.removeprefix("sha256:")))
            sync_folder(path.parent)


def forget_modules(home: Home, wanted: Wanted, replaced: Mapping[str, str | None]) -> None:
    """Drops of modules, which go on under the name of the batch that took their batch's place.

    replaced: as for the context store. A drop of which no record is left goes.
    """
    for path in modules.files(home):
        _filter_lines(home, path, wanted)
        now = replaced.get(f"sha256:{path.stem}", path.stem)
        if now is None or not path.stat().st_size:
            _unlink(path)
        elif now != path.stem:
            path.rename(path.with_stem(now.removeprefix("sha256:")))
            sync_folder(path.parent)


def forget_weights(home: Home, weights: Iterable[Weights | Unfinished]) -> None:
    """The local copies of affected adapters; the registry's own are the registry's."""
    for one in weights:
        for name in WEIGHTS:
            _remove(home.updates / one.update_id / name)
        if one.adapter is not None:
            _remove(home.cache / "adapters" / one.adapter.removeprefix("sha256:"))
    # Written by parents that may be affected; of whatever update or trial they are.
    for folder in (home.cache / "anchors", *rollouts.folders(home)):
        _remove(folder)


def forget_in_updates(home: Home, wanted: Wanted) -> None:
    """Rows and ids in the folders of updates, of those too that were killed half-way."""
    for work in sorted(home.updates.glob("u-*")):
        files = [work / "check" / "kept.parquet", work / "replay.parquet"]
        if any(_holds(home, path, wanted) for path in files):
            for name in (*WEIGHTS, FOLDER):
                _remove(work / name)  # first: these files say that they have to go
        for path in sorted(work.glob(f"{FOLDER}/{PAST}.*")):
            _unlink(path)  # it asks again what any earlier update asked
        for path in sorted(work.rglob("*.parquet")):
            _filter(home, path, wanted)
        for path in sorted([*work.glob("check/*.jsonl"), *work.glob(ROUTES)]):
            _filter_lines(home, path, wanted)
    for path in lists_of_left_out(home):
        _filter_lines(home, path, wanted)
    for path in sorted(home.replay.glob("*.parquet")):
        _filter(home, path, wanted)


def forget_batches(home: Home, digests: Iterable[str], wanted: Wanted) -> None:
    """The batches as they arrived, and whatever is named by them.

    Each is gone at once under its name. Leftovers of killed work go too: opening a scratch
    folder clears them away.
    """
    with scratch_folder(home) as work:
        for digest in digests:
            name = digest.removeprefix("sha256:")
            for other in ("releases", "trusted", "cache/signals"):
                _remove(home.root / other / name)
            place = home.batch(digest)
            if _holds(home, place / batches.RECORDS, wanted):
                place.rename(work / name)
                sync_folder(place.parent)


def forget_answers(home: Home, adapters: Iterable[str]) -> None:
    """Cached numbers of affected models, and of questions made from rows of users."""
    gone = set(adapters)
    for path in sorted((home.cache / "evals").glob("*.json.gz")):
        try:
            key = json.loads(gzip.decompress(path.read_bytes()))["entry"]["key"]
            keep = key["model"] not in gone and "update-" not in key["items"][0]
        except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError):
            keep = False  # damaged: it counts as none anyway
        if not keep:
            path.unlink()
    _remove(home.cache / "probes")  # asked about what was learned


def forget_results(home: Home) -> None:
    """What Prefect kept of our earlier runs: no run reads it again.

    Where others use the same Prefect home, theirs stay: a file is ours if it says so by the
    names of our types.
    """
    storage = prefect_home(home) / "storage"
    if storage.resolve().is_relative_to(home.root.resolve()):
        _remove(storage)
        return
    for path in sorted(storage.rglob("*")):
        if path.is_file() and OUR_RESULT.search(path.read_bytes()):
            path.unlink()


def prefect_home(home: Home) -> Path:
    return Path(os.environ.get("PREFECT_HOME", home.root / "prefect"))


def _holds(home: Home, path: Path, wanted: Wanted) -> bool:
    if not path.exists():
        return False
    rows = pq.read_table(path, columns=["id", "user"])
    return bool(pc.any(named_rows(home, rows, wanted)).as_py())


def _filter(home: Home, path: Path, wanted: Wanted) -> None:
    names = pq.read_schema(path).names
    by = [name for name in ("id", "user") if name in names]
    if "id" in by:
        named = named_rows(home, pq.read_table(path, columns=by), wanted)
        if pc.any(named).as_py():
            _write(pq.read_table(path).filter(pc.invert(named)), path)


def _filter_lines(home: Home, path: Path, wanted: Wanted) -> None:
    """Lines of an id; without an author they are the author's if a row of a batch says so.

    A line of what contradicts it names a second record (`other`), and goes for either's sake.
    """
    marker, kept, gone = Marker(home), bytearray(), False
    for line in path.read_bytes().splitlines(keepends=True):
        said = orjson.loads(line)
        named = [said["id"], *([said["other"]] if "other" in said else [])]
        if any(wanted.names(marker, name, said.get("user")) for name in named):
            gone = True
        else:
            kept += line
    if gone:
        durable.replace(path, bytes(kept))


def _write(rows: pa.Table, target: Path) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd")
    durable.replace(target, sink.getvalue().to_pybytes())


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)
    if path.parent.exists():
        sync_folder(path.parent)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
        sync_folder(folder.parent)
