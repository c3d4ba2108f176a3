"""Versions of a model in MLflow: stored once per update, and checked whenever fetched.

A version's files are artifacts of the update's run: `model/base.json`,
`model/candidate.json` and `model/adapter/`. Its tags are an index for people and searches.
What is handed out was checked: the adapter's files against the digest in the tags, and the
tags against `model/candidate.json`.

A version is found again by its update's id, so a flow that was killed stores nothing twice.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from tidegate.flows.connection import RegistryError, asking
from tidegate.flows.home import Home
from tidegate.flows.tracking import UPDATE_TAG, Runs, quoted
from tidegate.gates.digest import digest_folder
from tidegate.gates.drafts import draft_of
from tidegate.gates.types import Candidate, Digest, Noun
from tidegate.training.adapter_digest import CONFIG, WEIGHTS, adapter_digest
from tidegate.training.base import BaseError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

VERDICT_TAG, STATEMENT_TAG = "gov.verdict", "gov.statement"
TAG_KEY_LIMIT, TAG_VALUE_LIMIT = 250, 100_000
CANDIDATE_TAGS = {
    "gov.base_digest": "base",
    "gov.adapter_digest": "adapter",
    "gov.batch_digest": "batch",
    "gov.recipe_digest": "recipe",
    "gov.parent": "parent",
}
ADAPTER_FILES = (WEIGHTS, CONFIG)
N = TypeVar("N", bound=Noun)


class BaseCard(Noun):
    """The model underneath every adapter of a line. Stored as `model/base.json`."""

    name: str
    digest: Digest
    license: str


@dataclass(frozen=True)
class Version:
    """One version as the registry lists it; its files were not looked at."""

    version: str
    run_id: str
    tags: Mapping[str, str]
    aliases: tuple[str, ...]
    description: str

    @property
    def verdict(self) -> str | None:
        return self.tags.get(VERDICT_TAG)


@dataclass(frozen=True)
class ModelVersionInfo:
    """One version with its files: fetched, and found to be what its tags say."""

    name: str
    version: str
    run_id: str
    candidate: Candidate
    base: BaseCard
    adapter: Path | None  # folder with adapter_model.safetensors and adapter_config.json
    tags: Mapping[str, str]


class Versions:
    """Reads and writes versions; moves no alias."""

    def __init__(self, client: "MlflowClient", home: Home, artifacts: Path | None) -> None:
        self.client = client
        self.home = home
        self.runs = Runs(client, artifacts)

    def ensure_model(self, name: str) -> None:
        from mlflow.exceptions import MlflowException

        with asking(f"make the model {name!r}"):
            try:
                self.client.get_registered_model(name)
            except MlflowException as no:
                if no.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                self.client.create_registered_model(name)

    def aliases(self, name: str) -> dict[str, str]:
        with asking(f"read the aliases of {name!r}"):
            found = self.client.get_registered_model(name).aliases
        return {alias: str(version) for alias, version in found.items()}

    def annotate(
        self, name: str, version: str, tags: Mapping[str, str], description: str | None = None
    ) -> None:
        """Set tags, and the page that reviewers read, on a version that exists."""
        _fit(tags)
        with asking(f"annotate version {version} of {name!r}"):
            for key, value in tags.items():
                self.client.set_model_version_tag(name, version, key, value)
            if description is not None:
                self.client.update_model_version(name, version, description)

    def versions(self, name: str) -> tuple[Version, ...]:
        """All versions, oldest first."""
        with asking(f"list the versions of {name!r}"):
            found = self.client.search_model_versions(
                f"name='{quoted(name)}'", max_results=10_000
            )
        pointing: dict[str, list[str]] = {}
        for alias, version in self.aliases(name).items():
            pointing.setdefault(version, []).append(alias)
        return tuple(
            Version(
                version=str(v.version),
                run_id=v.run_id or "",
                tags=dict(v.tags),
                aliases=tuple(sorted(pointing.get(str(v.version), ()))),
                description=v.description or "",
            )
            for v in sorted(found, key=lambda v: int(v.version))
        )

    def version_of(self, name: str, update_id: str) -> str | None:
        """The version that an update stored, if it came that far."""
        wanted = f"name='{quoted(name)}' and tags.`{UPDATE_TAG}`='{quoted(update_id)}'"
        with asking(f"look for the version of update {update_id}"):
            found = self.client.search_model_versions(wanted)
        if len(found) > 1:
            numbers = ", ".join(sorted(str(v.version) for v in found))
            raise RegistryError(
                f"update {update_id} has versions {numbers} of {name!r}; someone copied its "
                f"tag {UPDATE_TAG}: delete the tag from all but the right one"
            )
        return str(found[0].version) if found else None

    def load(self, name: str, version: str) -> ModelVersionInfo:
        """A version with its files fetched and checked; raises RegistryError on any change."""
        found = self.find(name, version)
        tags = dict(found.tags)
        where = f"version {version} of {name!r}"
        run_id = found.run_id
        if not run_id:
            raise RegistryError(
                f"{where} belongs to no run; it was not registered by an update"
            )
        with asking(f"fetch the files of {where}"), tempfile.TemporaryDirectory() as work:
            folder = Path(self.client.download_artifacts(run_id, "model", work))
            candidate = _parse(Candidate, folder / "candidate.json", where)
            base = _parse(BaseCard, folder / "base.json", where)
            expected = _candidate_tags(candidate)
            changed = [key for key in CANDIDATE_TAGS if tags.get(key) != expected.get(key)]
            if changed or base.digest != candidate.base:
                raise RegistryError(
                    f"{where}: {', '.join(changed) or 'base.json'} does not agree with its "
                    "stored candidate; it was changed after registration: do not serve it, "
                    "roll back and compare with the ledger"
                )
            adapter = self._checked_adapter(folder / "adapter", candidate, where)
        return ModelVersionInfo(name, version, run_id, candidate, base, adapter, tags)

    def store(
        self,
        name: str,
        run_id: str,
        candidate: Candidate,
        base: BaseCard,
        adapter: Path | None,
        update_id: str,
        tags: Mapping[str, str],
        description: str,
    ) -> str:
        mine = {**tags, **_candidate_tags(candidate), UPDATE_TAG: update_id}
        _fit(mine)
        version = self.version_of(name, update_id)
        if version is not None:
            stored = dict(self.find(name, version).tags).get("gov.adapter_digest")
            if stored != candidate.adapter:
                raise RegistryError(
                    f"update {update_id} already stored the adapter {stored} as version "
                    f"{version} of {name!r}; another one needs an update of its own"
                )
        else:
            self.runs.log_text(run_id, _json(base), "model/base.json")
            self.runs.log_text(run_id, _json(candidate), "model/candidate.json")
            for file in (adapter / name for name in ADAPTER_FILES) if adapter else ():
                self.runs.log_file(run_id, file, "model/adapter")
            with asking(f"register a version of {name!r}"):
                source = f"{self.client.get_run(run_id).info.artifact_uri}/model"
                made = self.client.create_model_version(name, source, run_id, tags=mine)
                version = str(made.version)
        self.annotate(name, version, mine, description or None)
        return version

    def find(self, name: str, version: str) -> "ModelVersion":
        with asking(f"read version {version} of {name!r}"):
            return self.client.get_model_version(name, version)

    def _checked_adapter(self, folder: Path, candidate: Candidate, where: str) -> Path | None:
        """The adapter's files in the cache, after comparing what the registry holds now."""
        if candidate.adapter is None:
            return None
        found = digest_of(folder)
        if found != candidate.adapter:
            raise RegistryError(
                f"{where}: its adapter is {found}, registered was {candidate.adapter}; the "
                "files were changed: do not serve it, roll back and restore them"
            )
        kept = self.home.cache / "adapters" / found.removeprefix("sha256:")
        # Byte for byte: the ledger names the files themselves, not only what they mean.
        if kept.is_dir() and digest_folder(kept) == digest_folder(folder):
            return kept
        shutil.rmtree(kept, ignore_errors=True)
        kept.parent.mkdir(parents=True, exist_ok=True)
        draft = draft_of(kept)
        shutil.copytree(folder, draft)
        draft.rename(kept)
        return kept


def digest_of(adapter: Path) -> str:
    """The digest of an adapter's files, or RegistryError if they are none."""
    try:
        return adapter_digest(adapter)
    except (BaseError, OSError, ValueError) as no:
        raise RegistryError(f"{adapter}: no usable adapter: {no}") from no


def _candidate_tags(candidate: Candidate) -> dict[str, str]:
    values = {tag: getattr(candidate, field) for tag, field in CANDIDATE_TAGS.items()}
    return {tag: value for tag, value in values.items() if value is not None}


def _fit(tags: Mapping[str, str]) -> None:
    for key, value in tags.items():
        if len(key) > TAG_KEY_LIMIT or len(value) > TAG_VALUE_LIMIT:
            raise RegistryError(
                f"the tag {key[:40]!r} is too long for MLflow ({len(key)} of {TAG_KEY_LIMIT} "
                f"characters for its name, {len(value)} of {TAG_VALUE_LIMIT} for its value)"
            )


def _json(noun: Noun) -> str:
    return json.dumps(noun.model_dump(mode="json"), indent=2, sort_keys=True) + "\n"


def _parse(kind: type[N], path: Path, where: str) -> N:
    try:
        return kind.model_validate_json(path.read_bytes())
    except (ValidationError, FileNotFoundError) as no:
        raise RegistryError(f"{where}: model/{path.name} is missing or damaged: {no}") from no
