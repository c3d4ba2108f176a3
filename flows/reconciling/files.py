"""The stored files of one version, compared with the digests in its signed statement.

Hashes, and the adapter's OpenSSF signature where the home still has the key that the statement
names. The review page, reports and plots of a run are not compared: nothing is served from them.
"""

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from tidegate.flows.connection import asking
from tidegate.flows.reconciling.expected import Said
from tidegate.flows.reconciling.finding import Finding, Kind
from tidegate.flows.registry import BaseCard, Registry, RegistryError
from tidegate.flows.reviewing.wording import short
from tidegate.flows.signing.adapter import refused_signature
from tidegate.flows.signing.pipeline import PipelineKeys
from tidegate.flows.versions import ADAPTER_FILES, digest_of
from tidegate.gates.digest import digest_file
from tidegate.gates.types import Candidate

Wrong = tuple[Kind, str]
FETCHED = "model"


def file_findings(
    registry: Registry, model: str, said: Said, run_id: str, keys: PipelineKeys
) -> Iterator[Finding]:
    """What is wrong with the files of a version; whatever is stored, never an exception.

    Raises RegistryError if MLflow itself no longer answers: that says nothing about files.
    """
    with tempfile.TemporaryDirectory() as work:
        folder = fetched(registry, run_id, Path(work))
        if said.erased:
            wrong = list(_not_erased(folder, said)) if folder else []
        elif said.erasing and (folder is None or not (folder / "adapter").exists()):
            wrong = [(Kind.UNFINISHED, "an erasure deleted its weights, and was not finished")]
        elif folder is None:
            wrong = [
                (Kind.ARTIFACT_MISSING, f"nothing can be fetched from {FETCHED}/ of its run")
            ]
        else:
            wrong = [*_described(folder, said), *adapter_changes(folder / "adapter", said)]
            if said.adapter_key is not None:
                wrong += _signed(folder, said, keys)
        if said.run_id is not None and said.run_id != run_id:
            wrong.append((Kind.ARTIFACT_CHANGED, "it belongs to another run than was decided"))
    for kind, what in wrong:
        yield Finding(
            kind=kind,
            model=model,
            version=said.version,
            what=f"{what} (statement {short(said.statement)})",
            do=_do(kind, model),
        )


def adapter_changes(folder: Path, said: Said) -> Iterator[Wrong]:
    """What is wrong with an adapter's files, by the SHA-256 in the signed statement."""
    if said.adapter is None:
        if folder.exists():
            yield Kind.ARTIFACT_CHANGED, "it has an adapter, and was decided without one"
        return
    missing = [name for name in ADAPTER_FILES if not (folder / name).is_file()]
    for name in missing:
        yield Kind.ARTIFACT_MISSING, f"adapter/{name} is gone"
    if folder.is_dir() and {path.name for path in folder.iterdir()} - set(ADAPTER_FILES):
        yield Kind.ARTIFACT_CHANGED, "adapter/ holds files that no statement names"
    signed = [name for name in ADAPTER_FILES if f"adapter/{name}" in said.subjects]
    for name in signed:
        if name in missing:
            continue
        found, wanted = digest_file(folder / name), said.subjects[f"adapter/{name}"]
        if found != wanted:
            what = f"adapter/{name} is {short(found)}, decided was about {short(wanted)}"
            yield Kind.ARTIFACT_CHANGED, what
    if not missing and len(signed) < len(ADAPTER_FILES):  # from before files were named
        try:
            same = digest_of(folder) == said.adapter
        except RegistryError:
            same = False
        if not same:
            yield Kind.ARTIFACT_CHANGED, f"the adapter is not {short(said.adapter)}"


def fetched(registry: Registry, run_id: str, work: Path) -> Path | None:
    """The files of a version, or None if there are none. Raises RegistryError as above."""
    try:
        with asking("fetch the files of a version"):
            folder = Path(registry.client.download_artifacts(run_id, FETCHED, str(work)))
    except RegistryError:
        answering(registry)
        return None
    return folder if folder.is_dir() else None


def answering(registry: Registry) -> None:
    """Raises RegistryError unless MLflow answers."""
    with asking("answer a question"):
        registry.client.search_registered_models(max_results=1)


def _described(folder: Path, said: Said) -> Iterator[Wrong]:
    """`candidate.json` and `base.json`, which say what the version is."""
    expected = {
        field: said.subjects.get(field) for field in ("base", "adapter", "batch", "recipe")
    }
    for noun, name in ((Candidate, "candidate.json"), (BaseCard, "base.json")):
        try:
            found = noun.model_validate_json((folder / name).read_bytes())
        except FileNotFoundError:
            yield Kind.ARTIFACT_MISSING, f"{name} is gone"
            continue
        except (ValidationError, OSError):
            yield Kind.ARTIFACT_CHANGED, f"{name} cannot be read"
            continue
        if isinstance(found, Candidate):
            read = found.model_dump(mode="json")
            same = all(read[field] == value for field, value in expected.items())
            same = same and found.parent == said.parent
        else:
            same = isinstance(found, BaseCard) and found.digest == expected["base"]
        if not same:
            yield Kind.ARTIFACT_CHANGED, f"{name} does not say what was decided about"


def _signed(folder: Path, said: Said, keys: PipelineKeys) -> Iterator[Wrong]:
    signature = folder / "adapter.sig"
    if not signature.is_file():
        yield Kind.ARTIFACT_MISSING, "adapter.sig is gone"
        return
    if not keys.adapter_public.exists():
        return  # the hashes above are signed too, and need no key for adapters
    if hashlib.sha256(keys.adapter_public.read_bytes()).hexdigest() != said.adapter_key:
        return  # another key by now; strangers kept the one that the statement names
    no = refused_signature(folder / "adapter", signature, keys.adapter_public)
    if no is not None:
        yield Kind.ARTIFACT_CHANGED, f"adapter.sig does not verify ({no})"


def _not_erased(folder: Path, said: Said) -> Iterator[Wrong]:
    if any((folder / "adapter" / name).exists() for name in ADAPTER_FILES):
        yield Kind.NOT_ERASED, "its weights were erased by the ledger, and are still stored"


def _do(kind: Kind, model: str) -> str:
    if kind in (Kind.NOT_ERASED, Kind.UNFINISHED):
        return "run the same command again; it finishes what was begun"
    return (
        "serve nothing from it; restore the files from a backup, or serve another version: "
        f"tidegate rollback --model {model} --to VERSION"
    )
