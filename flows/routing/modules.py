"""Drops of modules: kept records that an update left out, for model lines of their own.

    modules/LINE/MODULE/BATCH.jsonl    one file a batch, mode 0600, written whole

A module is a line named LINE-MODULE: its own adapter on the same base, beside LINE's. Nothing
trains it: a person gives the drop to `tidegate update`, and every gate judges it again. Rows
are as the check kept them, masked where it masked; authors are this home's pseudonyms, which
ingest takes as they are (drops.find). A signature over text that was masked since would
be forged, so it is left out.
"""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from tidegate.flows.home import Home
from tidegate.flows.intake.connectors.drops import MODULES
from tidegate.flows.intake.home_key import sync_folder, write_private
from tidegate.flows.usage import UsageError
from tidegate.gates.types import Noun
from tidegate.training.recipe import Recipe

AS_THEY_ARE = (
    "id", "time", "source", "user", "messages", "model", "language", "valid_from", "valid_until",
)  # fmt: skip
LONGEST = 100  # characters of a line's name (deployments/parameters.py)


class ModuleDrop(Noun):
    """Records that wait for a line of their own."""

    model: str  # the line that would learn them
    path: Path
    records: int

    @property
    def command(self) -> str:
        """What trains it."""
        return f"tidegate update {shlex.quote(str(self.path))} --model {self.model}"

    def as_document(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "path": str(self.path),
            "records": self.records,
            "command": self.command,
        }


def line_of(model: str, module: str) -> str:
    return f"{model}-{module}"


def check_names(model: str, recipe: Recipe) -> None:
    """Raises UsageError, before any work, for a module whose line could have no such name."""
    for rule in recipe.routes or ():
        if rule.module and len(line_of(model, rule.module)) > LONGEST:
            raise UsageError(
                f"{line_of(model, rule.module)}: a line of this name would have more than "
                f"{LONGEST} characters; give the module a shorter one"
            )


def put(
    home: Home, model: str, batch: str, rows: Mapping[str, Sequence[bytes]]
) -> tuple[ModuleDrop, ...]:
    """Store a batch's drops in place of those that it had; rows by module, as `line` writes
    them. The same rows, the same bytes."""
    name = f"{batch.removeprefix('sha256:')}.jsonl"
    for path in sorted(_folder(home, model).glob(f"*/{name}")):
        if not rows.get(path.parent.name):
            path.unlink()
            sync_folder(path.parent)
    made = []
    for module, lines in sorted(rows.items()):
        path = _folder(home, model) / module / name
        write_private(path, b"".join(lines), replace=True)
        for folder in (path.parent, *path.parent.parents[:2]):  # their names must survive too
            sync_folder(folder.parent)
        made.append(ModuleDrop(model=line_of(model, module), path=path, records=len(lines)))
    return tuple(made)


def line(row: Mapping[str, Any], *, masked: bool) -> bytes:
    """A row of a batch's file as a line of a drop: the record that it was, with consent."""
    feedback = {name: row[name] for name in ("rating", "correction", "comment")}
    record = {
        **{name: row[name] for name in AS_THEY_ARE},
        "consent": True,  # only such rows are in a batch
        "feedback": _said(feedback),
        "tags": orjson.loads(row["tags"]),
        "signature": None if masked else row["signature"],
    }
    return orjson.dumps(_said(record), option=orjson.OPT_APPEND_NEWLINE)


def _said(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def files(home: Home) -> Iterable[Path]:
    """Every drop, of all lines and modules."""
    return sorted((home.root / MODULES).glob("*/*/*.jsonl"))


def _folder(home: Home, model: str) -> Path:
    return home.root / MODULES / model
