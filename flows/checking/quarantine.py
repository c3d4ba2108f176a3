"""The quarantine: what a gate refused, kept apart, encrypted, readable by its owner only.

One Parquet file a batch below the home: the records as they came, with the gates that
refused them. A record that was quarantined once stays, under whatever policy the batch is
checked again, until it is purged. Nothing that trains reads this folder.

The files are encrypted as Parquet's own standard has it (modular encryption, AES-256-GCM,
encrypted footer: github.com/apache/parquet-format/blob/master/Encryption.md), because it is
read and written in chunks, by columns, and by other tools that have the key. Every part is
authenticated with its place in the file, and all with batch and key id, which are not in the
file: what was edited, cut, reordered, or is another batch's or an older file of the same batch
is an error, never fewer rows. Not seen: that a file and its key were both deleted.

A file is replaced so that a process killed at any point leaves one whole version:

 1. the new file is written whole, as HEX.ID.draft, and synced;
 2. its key becomes the key of the batch: from here on the new version counts;
 3. the draft becomes HEX.parquet. Whoever comes next does this, if it was not done.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
from filelock import FileLock

from tidegate.flows.checking import quarantine_keys as keys
from tidegate.flows.checking.quarantine_keys import PURGED, BrokenQuarantine, DataKey
from tidegate.flows.home import Home
from tidegate.flows.intake.batches import SCHEMA, filled
from tidegate.flows.intake.home_key import sync_folder

WHY = pa.schema(
    [
        ("gates", pa.list_(pa.string())),
        ("details", pa.list_(pa.string())),
        ("policy", pa.string()),
    ]
)
SINCE = pa.field("since", pa.timestamp("us", "UTC"))  # when it was quarantined first
GIVEN = pa.schema([*SCHEMA, *WHY])
KEPT_APART = pa.schema([*GIVEN, SINCE])
CHUNK = 4096  # records
PLAIN = b"PAR1"  # what a file begins with that is not encrypted


def place(home: Home, batch: str) -> Path:
    """The file of a batch, which is there only if something of it was quarantined."""
    return home.root / "quarantine" / f"{batch.removeprefix('sha256:')}.parquet"


def store(
    home: Home,
    batch: str,
    tables: Iterable[pa.Table],
    ids: Sequence[str],
    now: datetime | None = None,
) -> Path:
    """Put records (tables of GIVEN, of these ids) into the quarantine of their batch.

    Records that are there already stay; those of `ids` are replaced, and keep the time since
    which they are there. Whole or not at all. Raises BrokenQuarantine.
    """
    known = pa.array(ids, pa.string())
    with _locked(home):
        earlier = [
            table.filter(pc.is_in(table["id"], known))
            for table in _stored(home, batch, ["id", "since"])
        ]
        first = {row["id"]: row["since"] for table in earlier for row in table.to_pylist()}

        rest = _stored(home, batch)  # before the draft: looking at the store clears drafts away

        def whole() -> Iterator[pa.Table]:
            for table in tables:
                since = [
                    first.get(name, now or datetime.now(UTC))
                    for name in table["id"].to_pylist()
                ]
                dated = filled(table, GIVEN).append_column(SINCE, pa.array(since, SINCE.type))
                yield dated.cast(KEPT_APART)
            for table in rest:
                yield table.filter(pc.invert(pc.is_in(table["id"], known)))

        _replace(home, batch, whole())
    return place(home, batch)


def read(
    home: Home,
    batch: str,
    ids: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
) -> Iterator[pa.Table]:
    """The quarantined records of a batch, or some of them, in tables of at most CHUNK rows.

    ids: only these. columns: of KEPT_APART, `id` among them; all if None. Raises
    BrokenQuarantine, at the latest where what cannot be read would be.
    """
    if not place(home, batch).parent.exists() and keys.held(home, batch) is None:
        return
    with _locked(home):
        tables = _stored(home, batch, columns)
    for table in tables:
        yield table if ids is None else table.filter(pc.is_in(table["id"], pa.array(ids)))


def version(home: Home, batch: str) -> str | None:
    """What names the stored state of a batch's quarantine; None if nothing is stored."""
    with _locked(home):
        key = _settled(home, batch)
    return key.id if key else None


def batches(home: Home) -> list[str]:
    """The digests of the batches that something was quarantined of, sorted."""
    files = {f"sha256:{p.stem}" for p in (home.root / "quarantine").glob("*.parquet")}
    return sorted(files | keys.batches(home))


def remove(home: Home, batch: str, ids: Sequence[str]) -> None:
    """Forget some records of a batch; if none is left, all of it."""
    gone = pa.array(ids, pa.string())
    with _locked(home):
        left = sum(
            pc.sum(pc.invert(pc.is_in(table["id"], gone))).as_py() or 0
            for table in _stored(home, batch, ["id"])
        )
        if left:
            rest = _stored(home, batch)
            _replace(home, batch, (t.filter(pc.invert(pc.is_in(t["id"], gone))) for t in rest))
            return
    shred(home, batch)


def shred(home: Home, batch: str) -> None:
    """Forget all of a batch, readable or not: its key first, then its file."""
    with _locked(home):
        keys.shred(home, batch)
        _finish_shredding(home, batch)


def _finish_shredding(home: Home, batch: str) -> None:
    for path in [place(home, batch), *_drafts(home, batch)]:
        path.unlink(missing_ok=True)
    sync_folder(place(home, batch).parent)
    keys.forget(home, batch)


def _replace(home: Home, batch: str, tables: Iterable[pa.Table]) -> None:
    path, key = place(home, batch), DataKey.new()
    draft = path.with_name(f"{path.stem}.{key.id}.draft")
    secret = pe.create_encryption_properties(
        key.key, aad_prefix=_bound_to(batch, key), store_aad_prefix=False
    )
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        with pq.ParquetWriter(
            file, KEPT_APART, compression="zstd", encryption_properties=secret
        ) as writer:
            for table in tables:
                if table.num_rows:
                    writer.write_table(table)
        file.flush()
        os.fsync(file.fileno())
    keys.keep(home, batch, key)
    draft.replace(path)
    sync_folder(path.parent)


def _settled(home: Home, batch: str) -> DataKey | None:
    """The key of what counts, after finishing what a killed process began; None: nothing."""
    path, key = place(home, batch), keys.held(home, batch)
    if key == PURGED:
        _finish_shredding(home, batch)
        return None
    mine = path.with_name(f"{path.stem}.{key.id}.draft") if key else None
    for draft in _drafts(home, batch):
        if draft == mine:
            draft.replace(path)
        else:
            draft.unlink()
    if key is not None:
        if not path.exists():
            raise BrokenQuarantine(
                f"{path}: is gone, though its key is there. Restore it from a backup, or give "
                "it up: tidegate quarantine purge --batch " + batch
            )
        return key
    if not path.exists():
        return None
    with path.open("rb") as file:
        plain = file.read(4) == PLAIN
    if not plain:
        raise BrokenQuarantine(
            f"{path}: its key {keys.place(home, batch)} is gone. Restore it from a backup, or "
            f"give the records up: tidegate quarantine purge --batch {batch}"
        )
    _replace(home, batch, _as_plain(path))  # written before files were encrypted
    return keys.held(home, batch)


def _as_plain(path: Path) -> Iterator[pa.Table]:
    since = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    with _readable(path), pq.ParquetFile(path) as file:
        for rows in file.iter_batches(batch_size=CHUNK):
            table = pa.Table.from_batches([rows])
            times = pa.array([since] * table.num_rows, SINCE.type)
            yield filled(table, GIVEN).append_column(SINCE, times).cast(KEPT_APART)


def _stored(home: Home, batch: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """What is stored now: the file is open when this returns, whoever replaces it later."""
    key = _settled(home, batch)
    if key is None:
        return iter(())
    path = place(home, batch)
    secret = pe.create_decryption_properties(key.key, aad_prefix=_bound_to(batch, key))
    with _readable(path):
        file = pq.ParquetFile(path, decryption_properties=secret)

    def tables() -> Iterator[pa.Table]:
        with _readable(path), file:
            for rows in file.iter_batches(batch_size=CHUNK, columns=columns):
                table = pa.Table.from_batches([rows])
                yield filled(table, KEPT_APART) if columns is None else table

    return tables()


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError):
        # Arrow's own words may hold a part of what it read.
        raise BrokenQuarantine(
            f"{path}: was changed or cut off after it was written, or is not this batch's. "
            "Restore it from a backup together with keys/quarantine, or give it up: tidegate "
            f"quarantine purge --batch sha256:{path.stem}"
        ) from None


def _bound_to(batch: str, key: DataKey) -> bytes:
    return f"tidegate quarantine 1 {batch} {key.id}".encode()


def _drafts(home: Home, batch: str) -> list[Path]:
    path = place(home, batch)
    return sorted(path.parent.glob(f"{path.stem}.*draft"))


@contextmanager
def _locked(home: Home) -> Iterator[None]:
    folder = home.root / "quarantine"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        yield
