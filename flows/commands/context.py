"""`tidegate context …`: what was not learned because it will not stay true, and looking it up."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from tidegate.flows.commands.common import AsJson, Place, print_json, start

context = typer.Typer(
    help="What is looked up instead of learned: list it, query it.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@context.command("list", epilog="Example: tidegate context list --json")
def list_(home: Place = None, as_json: AsJson = False) -> None:
    """By batch: how many entries, why, and how many have expired. Never text."""
    place, console = start(home, as_json)
    from tidegate.flows.context.show import counts, show_counts

    found = counts(place, datetime.now(UTC))
    if as_json:
        print_json([one.model_dump(mode="json") for one in found])
    else:
        show_counts(console, found)


@context.command(
    "query", epilog="Example: tidegate context query 'when is the depot open' --most 3"
)
def query(
    text: Annotated[str, typer.Argument(help="A question, in words.")],
    at: Annotated[
        datetime | None,
        typer.Option(help="Time that entries must be valid at (UTC); now otherwise."),
    ] = None,
    most: Annotated[int, typer.Option(min=1, max=100, help="Entries at most.")] = 5,
    home: Place = None,
    as_json: AsJson = False,
) -> None:
    """The entries that share words with a question and are valid, the best first."""
    place, console = start(home, as_json)
    from tidegate.flows.context.show import show_hits
    from tidegate.flows.context.store import query as look_up

    when = at.replace(tzinfo=UTC) if at else datetime.now(UTC)
    hits = look_up(place, text, when, most)
    if as_json:
        print_json([hit.model_dump(mode="json") for hit in hits])
    else:
        show_hits(console, hits)
