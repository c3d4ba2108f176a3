"""Parts of a batch as they were measured, on disk: what a killed run has done, stays done.

A part is a slice of a row group of the batch's Parquet file. Its file holds numbers, hashed
words and ids, and no text, and it is there whole or not at all. Whoever maps the parts (this
process, others, other machines) writes the same files, so the sums over them are the same.
"""

import json
import os
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import numpy as np
import pyarrow.parquet as pq

from tidegate.gates.digest import canonical, digest_bytes, digest_file, digest_json
from tidegate.gates.signals import compute
from tidegate.gates.signals.compute import Part, Settings
from tidegate.gates.signals.feedback import Feedback
from tidegate.gates.signals.mentions import Mentions
from tidegate.gates.signals.prints import Prints
from tidegate.gates.signals.statements import Statements
from tidegate.gates.signals.words import Exchanges

ROWS = 16_384  # of a part: a quarter of a minute's work
_COUNTED = {
    "prints": Prints,
    "said": Exchanges,
    "rated": Feedback,
    "named": Mentions,
    "stated": Statements,
}  # sums need them


class Slice(NamedTuple):
    """Rows of one row group, and the file for what is measured of them."""

    group: int
    start: int
    rows: int
    file: Path


def slices(path: Path, folder: Path) -> list[Slice]:
    """The parts of a Parquet file, in its order."""
    about = pq.read_metadata(path)
    found: list[Slice] = []
    for group in range(about.num_row_groups):
        total = about.row_group(group).num_rows
        for start in range(0, total, ROWS):
            file = folder / f"{len(found):06}.npz"
            found.append(Slice(group, start, min(ROWS, total - start), file))
    return found


def name(path: Path, settings: Settings, code: str) -> str:
    """Names what the parts hold: the file's content, the settings and the code."""
    said = {field.name: _digest(getattr(settings, field.name)) for field in fields(settings)}
    return digest_json({"file": digest_file(path), "settings": said, "code": code})


def _digest(value: Any) -> str:
    if isinstance(value, frozenset):  # its order is another one in each process
        value = sorted(value)
    own = getattr(value, "digest", None)
    return own if isinstance(own, str) else digest_bytes(pickle.dumps(value))


def measured(path: Path, part: Slice, settings: Settings) -> None:
    """Measure one part and write its file, unless it is there."""
    if part.file.exists():
        return
    with pq.ParquetFile(path) as file:
        table = file.read_row_group(part.group, columns=compute.READ)
    table = table.slice(part.start, part.rows)
    chunks = [
        compute.part_of(table.slice(start, compute.CHUNK), settings)
        for start in range(0, part.rows, compute.CHUNK)
    ]
    draft = part.file.with_name(f"{part.file.name}.{os.uname().nodename}-{os.getpid()}")
    with draft.open("wb") as out:
        arrays = {k: v for i, chunk in enumerate(chunks) for k, v in _flat(chunk, i)}
        np.savez(out, allow_pickle=False, **arrays)
        out.flush()
        os.fsync(out.fileno())
    draft.replace(part.file)


def read(part: Slice) -> Iterator[Part]:
    """What was written, chunk by chunk. Raises ValueError if it is not whole."""
    with np.load(part.file, allow_pickle=False) as arrays:
        chunks = [_part(arrays, i) for i in range(-(-part.rows // compute.CHUNK))]
    if sum(len(chunk.ids) for chunk in chunks) != part.rows:
        raise ValueError(f"{part.file}: not {part.rows} records; remove it and run again")
    yield from chunks


def _flat(part: Part, number: int) -> Iterator[tuple[str, np.ndarray]]:
    yield f"{number}.ids", np.frombuffer(canonical(part.ids), dtype=np.uint8)
    yield f"{number}.columns", np.frombuffer(canonical(list(part.columns)), dtype=np.uint8)
    for i, values in enumerate(part.columns.values()):
        yield f"{number}.column.{i}", values
    for name in _COUNTED:
        if getattr(part, name) is not None:
            yield from _arrays(getattr(part, name), f"{number}.{name}")


def _part(arrays: Mapping[str, np.ndarray], number: int) -> Part:
    names = json.loads(arrays[f"{number}.columns"].tobytes())
    counted: dict[str, Any] = {
        name: _built(kind, f"{number}.{name}", arrays)
        if any(key.startswith(f"{number}.{name}.") for key in arrays)
        else None
        for name, kind in _COUNTED.items()
    }
    return Part(
        ids=json.loads(arrays[f"{number}.ids"].tobytes()),
        columns={name: arrays[f"{number}.column.{i}"] for i, name in enumerate(names)},
        **counted,
    )


def _arrays(value: Any, name: str) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of a dataclass of arrays and of such dataclasses, by their paths."""
    if isinstance(value, np.ndarray):
        yield name, value
        return
    for field in fields(value):
        yield from _arrays(getattr(value, field.name), f"{name}.{field.name}")


def _built(kind: Any, name: str, arrays: Mapping[str, np.ndarray]) -> Any:
    """The opposite of `_arrays`."""
    if kind is np.ndarray:
        return arrays[name]
    types = get_type_hints(kind)
    return kind(
        **{f.name: _built(types[f.name], f"{name}.{f.name}", arrays) for f in fields(kind)}
    )
