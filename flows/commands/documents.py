"""`tidegate documents`: model card, bill of materials and change record of a version."""

from pathlib import Path
from typing import Annotated

import typer

from tidegate.flows.commands.common import AsJson, Model, Place, Tracking, print_json, start

EXAMPLE = "Example: tidegate documents 7 --model support --out documents/7"


def documents(
    version: Annotated[str, typer.Argument(help="A version, or an alias such as champion.")],
    out: Annotated[Path, typer.Option(help="Folder to write into.")],
    model: Model = "assistant",
    home: Place = None,
    tracking_uri: Tracking = None,
    as_json: AsJson = False,
) -> None:
    """Write model card, bill of materials and change record of a version, from its statement.

    README.md has Hugging Face front matter, bom.cdx.json is CycloneDX 1.6, and change.md supports
    Annex IV, point 2(f) of the AI Act. Nothing is written unless the ledger verifies.
    """
    place, console = start(home, as_json)
    from tidegate.flows.documents.account import find_account
    from tidegate.flows.documents.write import write_documents

    written = write_documents(find_account(place, model, version, tracking_uri), out)
    if as_json:
        print_json(written.model_dump(mode="json"))
    else:
        written.show(console)
