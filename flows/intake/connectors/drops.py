"""Which files and experiments a drop is made of: paths, folders, globs and mlflow: names."""

import glob
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

from tidegate.flows.connection import shown
from tidegate.flows.home import Home
from tidegate.flows.intake.connectors import jsonl, mlflow_traces, parquet
from tidegate.flows.intake.connectors.rows import IngestError, Row, Source

READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": jsonl.rows,
    ".ndjson": jsonl.rows,
    ".json": jsonl.rows,
    ".parquet": parquet.rows,
}
IN_FOLDERS = (".jsonl", ".ndjson", ".parquet")  # .json in a folder is mostly something else
MLFLOW = "mlflow:"
MODULES = "modules"  # folder of the home with drops that updates wrote (routing/modules.py)
KINDS = "JSON Lines (.jsonl, .ndjson) or Parquet (.parquet)"


def find(
    drops: Sequence[str | Path],
    home: Home,
    defaults: Mapping[str, Any],
    *,
    emptied: bool = False,
) -> list[Source]:
    """Every source of the drops, each once, in the order given; folders sorted by name.

    emptied: a folder that is there and holds nothing gives nothing, as when all was taken away.
    Raises IngestError for a drop that is not there, or else one that holds nothing to read.
    """
    if not drops:
        raise IngestError(
            "no drop was given; name a file, a folder, a glob or mlflow:EXPERIMENT"
        )
    sources: dict[str, Source] = {}
    for drop in drops:
        if str(drop).startswith(MLFLOW):
            uri, experiment = _experiment(str(drop), home)
            name = MLFLOW + (f"{shown(uri)}#" if "#" in str(drop) else "") + experiment
            rows = partial(mlflow_traces.rows, uri, experiment, defaults)
            sources.setdefault(name, Source(name, rows))
        else:
            for path in _files(drop, emptied):
                reader = partial(_reader(path), path)
                real = path.resolve()
                ours = real.is_relative_to((home.root / MODULES).resolve())
                sources.setdefault(str(real), Source(str(path), reader, ours))
    return list(sources.values())


def _experiment(drop: str, home: Home) -> tuple[str, str]:
    given = drop.removeprefix(MLFLOW)
    uri, _, experiment = given.rpartition("#")
    if not experiment:
        raise IngestError(f"{MLFLOW}: no experiment is named; write mlflow:EXPERIMENT")
    uri = uri or f"sqlite:///{home.mlflow_database}"
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).is_file():
        raise IngestError(
            f"mlflow:{experiment}: there is no database at {uri.removeprefix('sqlite:///')}; "
            "name the right one, as in mlflow:sqlite:////folder/mlflow.db#EXPERIMENT"
        )
    return uri, experiment


def _files(drop: str | Path, emptied: bool) -> Iterator[Path]:
    path = Path(drop)
    try:
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.suffix in IN_FOLDERS and p.is_file())
            if not found and not emptied:
                raise IngestError(
                    f"{path}: the folder holds nothing to read; put {KINDS} there"
                )
        elif path.exists():
            found = [path]
        else:
            found = [Path(p) for p in sorted(glob.glob(str(drop), recursive=True))]
            if not found and not (emptied and _folder_of(path).is_dir()):
                raise IngestError(f"{path}: there is no such file; see how the path is written")
            for each in [p for p in found if p.is_dir()]:
                found.remove(each)
                found += _files(each, emptied)
    except OSError as no:
        raise IngestError(
            f"{path}: cannot be looked at ({no.strerror}); see that this user may read it"
        ) from no
    yield from found


def _folder_of(pattern: Path) -> Path:
    """The folder that a glob looks into; for a path that is no glob, one that is not there."""
    parts = list(takewhile(lambda part: not glob.has_magic(part), pattern.parts))
    return Path(*parts)


def _reader(path: Path) -> Callable[[Path], Iterator[Row]]:
    """The reader for the file, by its ending, checked against its first bytes."""
    if not path.is_file():
        raise IngestError(f"{path}: not a regular file; save what it delivers as {KINDS}")
    try:
        with path.open("rb") as file:
            start = file.read(4096)
    except OSError as no:
        raise IngestError(
            f"{path}: cannot be read ({no.strerror}); see that this user may read it"
        ) from no
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        reader = parquet.rows if start.startswith(b"PAR1") else jsonl.rows
        if reader is jsonl.rows and not start.lstrip().startswith(b"{"):
            raise IngestError(f"{path}: not a kind of file that is read here; give {KINDS}")
    if reader is jsonl.rows and start.startswith(b"PAR1"):
        raise IngestError(f"{path}: this is Parquet by its content; name it .parquet")
    if reader is jsonl.rows and start.startswith(b"\x1f\x8b"):
        raise IngestError(f"{path}: this is compressed; unpack it first (gunzip)")
    if path.suffix.lower() == ".json" and start.lstrip().startswith(b"["):
        raise IngestError(
            f"{path}: this is one JSON array; write one object a line, as with "
            f"jq -c '.[]' {path.name} > {path.stem}.jsonl"
        )
    return reader
