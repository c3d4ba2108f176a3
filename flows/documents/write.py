"""Writing the documents about a version into a folder: all of them, or none."""

from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from tidegate.flows import durable
from tidegate.flows.documents.account import Account
from tidegate.flows.documents.bom import bill_of_materials
from tidegate.flows.documents.card import model_card
from tidegate.flows.documents.change import change_record
from tidegate.flows.reviewing.wording import clean
from tidegate.gates.digest import digest_bytes
from tidegate.gates.types import Action, Digest, Noun

OF_WEIGHTS: dict[str, Callable[[Account], str]] = {
    "README.md": model_card,
    "bom.cdx.json": bill_of_materials,
}
ALWAYS: dict[str, Callable[[Account], str]] = {"change.md": change_record}


class Documents(Noun):
    """What was written about a version."""

    model: str
    version: str
    action: Action
    statement: Digest
    folder: Path
    files: dict[str, Digest]
    left_out: tuple[str, ...]  # there are no weights to be described

    def show(self, console: Console) -> None:
        console.print(
            f"{escape(clean(self.model))} version {escape(self.version)}: {self.action}",
            highlight=False,
        )
        for name in self.files:
            console.print(f"  {escape(str(self.folder / name))}", highlight=False)
        if self.left_out:
            console.print(
                f"  not written: {', '.join(self.left_out)}; the update ended without weights"
            )
        console.print(f"  statement  {self.statement}", highlight=False)


def write_documents(account: Account, folder: Path) -> Documents:
    """Write model card, bill of materials and change record; of no weights, the record alone.

    Raises DocumentError, before anything is written, if a document is not as the readers of
    its format take it.
    """
    wanted = {**(OF_WEIGHTS if account.adapter else {}), **ALWAYS}
    made = {name: make(account).encode() for name, make in wanted.items()}
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in made.items():
        durable.replace(folder / name, content)
    return Documents(
        model=account.model,
        version=account.version,
        action=account.action,
        statement=account.entry.statement,
        folder=folder,
        files={name: digest_bytes(content) for name, content in made.items()},
        left_out=tuple(name for name in OF_WEIGHTS if name not in made),
    )
