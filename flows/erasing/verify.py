"""Whether an erasure did what it says: by the lineage, and by looking into every file.

What serves is clean by construction: the lineage of each champion, back to the base, has no
erased mark. That the text is gone is searched: every file below the home, as it lies there and
decompressed, for the pieces of texts, ids and pseudonyms that were gathered before.

Answers that models wrote to questions of rows need not say what the rows said, so their folders are
looked for by where they come from (rollouts.py).

Not looked into: weights (numbers), keys, what encrypted files say, apart from the quarantine,
which is read by ids, and databases on servers. Free blocks of the disk are the disk's matter.
"""

import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tidegate.flows.checking import quarantine
from tidegate.flows.connection import asking
from tidegate.flows.erasing import rollouts, stores, texts
from tidegate.flows.erasing.state import Searched, State, Verified
from tidegate.flows.erasing.unfinished import unfinished
from tidegate.flows.erasing.weights import SUFFIX, left_of, run_of
from tidegate.flows.home import Home
from tidegate.flows.intake.scratch import scratch_folder
from tidegate.flows.registry import Registry
from tidegate.flows.tracing import index
from tidegate.flows.tracing.steps import ancestry, read_steps
from tidegate.flows.tracing.wanted import Wanted, named_rows
from tidegate.gates.types import Progress, Report


def verify(
    home: Home, registry: Registry, state: State, wanted: Wanted, progress: Report
) -> Verified:
    """Look at lineage, weights and files.

    Files are searched while there is something left to look for; later, what the search found
    stands. Raises UsageError if there never was a search.
    """
    seen = state.verified
    if seen is None or texts.place(home, state.request).exists():
        searched = search(home, registry, state, wanted, progress)
    else:
        searched = seen.searched
    plan = state.plan
    known = any(left_of(home, registry, one) for one in plan.going)
    gone = not known and not unfinished(home, registry, plan, wanted)
    return Verified(
        lineage_clean=lineage_is_clean(home, registry, wanted, state),
        weights_gone=gone,
        searched=searched,
    )


def lineage_is_clean(home: Home, registry: Registry, wanted: Wanted, state: State) -> bool:
    """Whether no champion of the home has an erased mark in its lineage."""
    steps = read_steps(home)
    records, authors = (
        pa.array(sorted(marks), pa.string()) for marks in (wanted.records, wanted.authors)
    )
    affected = {(one.model, one.version) for one in state.plan.weights}
    for model in {model for model, _ in steps}:
        champion = registry.aliases(model).get("champion", "")
        for step in ancestry(steps, model, champion):
            rows = index.read(home, step.update_id, step.batch).marked(records, authors)
            fates = set(rows["fate"].to_pylist())
            if (model, step.version) in affected or fates & set(index.IN_THE_WEIGHTS):
                return False
    return True


def search(
    home: Home, registry: Registry, state: State, wanted: Wanted, progress: Report
) -> Searched:
    """Every file of the home, rollouts of which anybody could be the source, and where they are elsewhere, MLflow's artifacts of affected updates
    and the files of Prefect's home."""
    looked_for = texts.load(home, state.request)
    forms = looked_for.forms()
    found, files = set[str](), 0
    mine = texts.place(home, state.request)
    with scratch_folder(home) as work:
        places: Mapping[str, Path] = {
            "": home.root,
            "mlflow:": work,
            "prefect:": stores.prefect_home(home),
        }
        for one in state.plan.going:
            run_id = run_of(registry, one)
            with asking(f"fetch the artifacts of run {run_id}"):
                run = registry.client.get_run(run_id)
                if str(home.mlflow_artifacts) not in (run.info.artifact_uri or ""):
                    (work / run_id).mkdir(exist_ok=True)  # names are the same in every run
                    registry.client.download_artifacts(run_id, "", str(work / run_id))
        for prefix, root in places.items():
            for path in sorted(root.rglob("*")):
                done = {"": home.root / "work", "prefect:": home.root}  # or is looked at anyway
                inside = prefix in done and path.is_relative_to(done[prefix])
                if not path.is_file() or path == mine or inside:
                    continue
                files += 1
                progress(Progress("search", files, None, "files"))
                if path.suffix != SUFFIX and holds_any(path, forms):
                    found.add(prefix + str(path.relative_to(root)))
    found.update(
        str(folder.relative_to(home.root))
        for folder in rollouts.suspect(home, state.plan, wanted)
    )
    for digest in quarantine.batches(home):
        for table in quarantine.read(home, digest, columns=["id", "user"]):
            if any(named_rows(home, table, wanted).to_pylist()):
                found.add(str(quarantine.place(home, digest).relative_to(home.root)))
    return Searched(
        files=files,
        pieces=len(looked_for.pieces),
        shared=looked_for.shared,
        found=tuple(sorted(found)),
    )


def holds_any(path: Path, forms: Sequence[bytes]) -> bool:
    """Whether a file holds one of these, as it is or decompressed (Parquet, gzip, zip).

    One that another process has removed since it was listed holds nothing.
    """
    try:
        whole = path.read_bytes()
    except FileNotFoundError:
        return False
    return any(form in data for data in _contents(whole) for form in forms)


def _contents(data: bytes) -> Iterator[bytes]:
    yield data
    try:
        if data.startswith(b"PAR1"):
            with pq.ParquetFile(pa.BufferReader(data)) as file:
                for rows in file.iter_batches(batch_size=4096):
                    yield json.dumps(rows.to_pylist(), default=str).encode()
        elif data.startswith(b"\x1f\x8b"):
            yield from _contents(gzip.decompress(data))
        elif data.startswith(b"PK\x03\x04"):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                for name in archive.namelist():
                    yield from _contents(archive.read(name))
    except (pa.ArrowException, OSError, EOFError, zlib.error, zipfile.BadZipFile):
        return  # it begins like one and is none: it was looked at as it lies there
