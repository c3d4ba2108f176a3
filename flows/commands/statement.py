"""`tidegate statement …`: signed statements for people outside."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from tidegate.flows.commands.common import AsJson, Model, Place, Tracking, print_json, start

statement = typer.Typer(
    help="Signed statements, for people outside.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@statement.callback()
def _statement() -> None:
    """Typer would take a single command for the group itself."""


@statement.command(
    "export",
    epilog="Example: tidegate statement export 7 --model support --out v7.intoto.jsonl",
)
def export(
    version: Annotated[
        str, typer.Argument(help="A version, an alias, or the digest of a statement.")
    ],
    out: Annotated[Path, typer.Option(help="File to write: an in-toto bundle.")],
    model: Model = "assistant",
    home: Place = None,
    tracking_uri: Tracking = None,
    as_json: AsJson = False,
) -> None:
    """Write the signed statements about a version, which any in-toto client verifies.

    The decision first, then SLSA Provenance, Test Result and Simple Verification Result.
    """
    place, _ = start(home, as_json)
    from tidegate.flows.attesting import bundle
    from tidegate.flows.ledger import Ledger
    from tidegate.flows.show import statement_of

    digest = version
    if not version.startswith("sha256:"):  # a digest needs no registry
        digest, _found = statement_of(model, version, place, tracking_uri)
    written = bundle(Ledger(place.ledger), digest)
    out.write_bytes(written)
    count = written.count(b"\n")
    if as_json:
        print_json({"statement": digest, "out": str(out), "envelopes": count})
    else:
        Console().print(f"{escape(str(out))}: {count} envelopes", soft_wrap=True)
