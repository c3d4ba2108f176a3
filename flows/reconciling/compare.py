"""Ledger and registry, compared: every difference is a finding, and none stops the others.

    statements → what must be → aliases, tags and files of each version → findings

One broken version hides no other. An MLflow that does not answer, and a ledger that is not what
was written, are errors: then nobody knows, which is never "all well".
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

from tidegate.flows.connection import asking
from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.reconciling.aliases import alias_findings, tag_findings, unfinished
from tidegate.flows.reconciling.expected import Expected, Finished, Said, expected
from tidegate.flows.reconciling.files import file_findings
from tidegate.flows.reconciling.finding import Finding, Kind, Unreconciled, shown
from tidegate.flows.registry import Registry, RegistryError
from tidegate.flows.tracking import UPDATE_TAG, quoted
from tidegate.flows.usage import UsageError
from tidegate.flows.versions import Version


@dataclass(frozen=True)
class Compared:
    """What was looked at, and every difference that was found."""

    models: tuple[str, ...]
    versions: int
    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        return 1 if self.findings else 0


class _Result(BaseModel):
    """Of an update's result, what says which statement it is about; the rest is passed over."""

    statement: str


def compare(home: Home, model: str | None = None, tracking_uri: str | None = None) -> Compared:
    """Compare one model line, or every line of the ledger and of the registry.

    Raises BrokenLedger, Unreconciled if MLflow does not answer, and UsageError if neither
    ledger nor registry know `model`.
    """
    ledger = Ledger(home.ledger)
    written = ledger.read()
    try:
        registry = Registry.open(home, tracking_uri)
        registered = set(_registered(registry))
        lines = {record["predicate"]["model"] for _, record in written} - {""}
        if model is None:
            asked = lines | {name for name in registered if _ours(registry, name)}
        elif model in lines | registered:
            asked = {model}
        else:
            raise UsageError(f"neither ledger nor registry know the model line {model!r}")
        found: list[Finding] = []
        versions = 0
        for name in sorted(asked):
            must = expected(written, name)
            listed = registry.versions(name) if name in registered else ()
            versions += len({v.version for v in listed} | must.versions.keys())
            found += _line(home, registry, ledger, must, listed, name in registered)
    except RegistryError as no:
        raise Unreconciled(f"ledger and registry could not be compared: {no}") from no
    return Compared(tuple(sorted(asked)), versions, tuple(found))


def finished_in(home: Home) -> Finished:
    """Whether the update, or what decided again about it, wrote its result: its last step."""

    def finished(said: Said) -> bool:
        path = home.updates / said.update_id / "result.json"
        try:
            return _Result.model_validate_json(path.read_bytes()).statement == said.statement
        except (FileNotFoundError, ValidationError):
            return False

    return finished


def _line(
    home: Home,
    registry: Registry,
    ledger: Ledger,
    must: Expected,
    listed: tuple[Version, ...],
    registered: bool,
) -> Iterator[Finding]:
    model, finished = must.model, finished_in(home)
    if not must.versions and listed:
        yield Finding(
            kind=Kind.UNKNOWN_VERSION,
            model=model,
            version="",
            what=f"the registry has {len(listed)} versions, and this ledger knows nothing of "
            "the model line: it is another home's, or was registered by hand",
            do="compare it in the home whose ledger it is in; serve nothing from it here",
        )
        return
    aliases = registry.aliases(model) if registered else {}
    yield from alias_findings(must, aliases, finished)
    here = {version.version: version for version in listed}
    begun = must.only_blessed and unfinished(must, aliases, finished)
    for number, said in must.versions.items():
        if number in here:
            yield from _version(registry, ledger, must, said, here[number], finished)
        elif not said.erased and not begun:
            yield Finding(
                kind=Kind.VERSION_MISSING,
                model=model,
                version=number,
                what=f"it was decided {said.verdict!r} and is not in the registry any more",
                do="restore MLflow's database from a backup; a version cannot be made again",
            )
    for number in here.keys() - must.versions.keys():
        yield _unknown(model, here[number])


def _version(
    registry: Registry,
    ledger: Ledger,
    must: Expected,
    said: Said,
    version: Version,
    finished: Finished,
) -> Iterator[Finding]:
    if not said.erased:
        yield from tag_findings(must, said, version, finished)
    yield from file_findings(registry, must.model, said, version.run_id, ledger.keys)


def _unknown(model: str, version: Version) -> Finding:
    update = version.tags.get(UPDATE_TAG)
    if update is None:
        return Finding(
            kind=Kind.UNKNOWN_VERSION,
            model=model,
            version=version.version,
            what="it is in the registry and not in the ledger: it was registered by hand",
            do="find out who registered it, and delete it in MLflow; nothing serves it",
        )
    return Finding(
        kind=Kind.STATEMENT_MISSING,
        model=model,
        version=version.version,
        what=f"it says that update {shown(update)} made it, and the ledger has no statement "
        "about it: that update was killed before it was decided, or the tags are forged",
        do="run the same command again, if that update is yours; else delete it in MLflow",
    )


def _registered(registry: Registry) -> Iterator[str]:
    with asking("list the registered models"):
        page = registry.client.search_registered_models(max_results=1000)
        while True:
            yield from (model.name for model in page)
            if not page.token:
                return
            page = registry.client.search_registered_models(
                max_results=1000, page_token=page.token
            )


def _ours(registry: Registry, name: str) -> bool:
    """Whether an update of tidegate's ever registered a version of it."""
    if "'" in name or "\\" in name:
        return False  # no line of ours can have such a name
    with asking(f"list the versions of {name!r}"):
        found = registry.client.search_model_versions(
            f"name='{quoted(name)}'", max_results=10_000
        )
    return any(UPDATE_TAG in version.tags for version in found)
