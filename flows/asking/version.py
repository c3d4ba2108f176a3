"""Which version is asked: one that the ledger allows to serve, with the files it decided about.

Reads only. A line is never begun here, nor finished where a process was killed: `open_line` of
an update does both.
"""

from pathlib import Path

from tidegate.flows.asked import recorded_rules
from tidegate.flows.home import Home
from tidegate.flows.line import line_names
from tidegate.flows.reconciling.expected import Said
from tidegate.flows.reconciling.serving import (
    ledger_says,
    require_aliases,
    require_recorded,
)
from tidegate.flows.registry import ModelVersionInfo, Registry
from tidegate.flows.standing import why_never_again
from tidegate.flows.usage import UsageError
from tidegate.gates.types import Report, ignore_progress
from tidegate.training.base import EMBEDDED, Base, BaseError, find_base


def version_to_ask(
    home: Home, model: str, alias: str, tracking_uri: str | None = None
) -> tuple[ModelVersionInfo, Said]:
    """The version that an alias (or a number) stands for, and what the ledger says about it.

    Raises UsageError if there is none or it may not serve, Unreconciled if registry and ledger
    do not agree, BrokenLedger and RegistryError.
    """
    must = ledger_says(home, model)
    if not must.versions:
        names = ", ".join(sorted(line_names(home))) or "none yet: the first update begins one"
        raise UsageError(f"there is no model line {model!r} in {home.root}; it has {names}")
    registry = Registry.open(home, tracking_uri)
    require_aliases(home, registry, must)
    aliases = registry.aliases(model)
    number = aliases.get(alias, alias)
    said = must.versions.get(number)
    if said is None:
        names = ", ".join(sorted({*aliases, *must.versions}))
        raise UsageError(f"{model!r} has no {alias!r}; it has {names}")
    # The base serves again whenever a rollback says so; a version that had to go never does.
    gone = why_never_again(home, model, number) if said.act == "decide" else None
    if gone is None and not said.may_serve:
        why = "its weights were erased" if said.erased else f"it was decided {said.verdict!r}"
        gone = (
            f"version {number} of {model!r} may not serve: {why}. "
            f"See: tidegate show {number} --model {model}"
        )
    if gone is not None:
        raise UsageError(gone)
    found = registry.load(model, number)
    require_recorded(must, found)
    return found, said


def base_of(
    home: Home,
    found: ModelVersionInfo,
    said: Said,
    folder: Path | None = None,
    progress: Report = ignore_progress,
) -> Base:
    """The base that a version stands on, by its digest.

    folder: where it is; else it is looked for where the version's recipe says, or by its name.
    Raises UsageError if it is not there or is another one, BaseError and BrokenLedger.
    """
    name = str(folder) if folder else found.base.name
    if folder is None and said.act == "decide" and name not in EMBEDDED:
        name = recorded_rules(home, said.update_id)[1].base
    try:
        base = find_base(name, home.cache, progress)
    except BaseError as no:
        if folder or name in EMBEDDED:
            raise
        raise UsageError(f"{no}. Give the folder of {found.base.name!r} with --base") from None
    if base.digest != found.candidate.base:
        raise UsageError(
            f"{base.folder}: is {base.digest}, and version {found.version} of {found.name!r} "
            f"stands on {found.candidate.base} ({found.base.name}); give its folder with --base"
        )
    return base
