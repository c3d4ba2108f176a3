"""`tidegate lineage …`: what a record touched, and where a version comes from."""

from typing import Annotated

import typer

from tidegate.flows.commands.common import AsJson, Model, Place, Tracking, print_json, start

lineage = typer.Typer(
    help="From a record to the versions it touched, and from a version back to the base.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@lineage.command("record", epilog="Example: tidegate lineage record t-00931 --json")
def record(
    name: Annotated[str, typer.Argument(metavar="ID", help="Id of a record, as in its drop.")],
    model: Annotated[
        str | None, typer.Option("--model", help="This model line only; all otherwise.")
    ] = None,
    home: Place = None,
    tracking_uri: Tracking = None,
    as_json: AsJson = False,
) -> None:
    """The batches, updates, versions and aliases that a record touched. Never its text."""
    place, console = start(home, as_json)
    from tidegate.flows.tracing.record import show_reach, trace_record

    reach = trace_record(place, name, model, tracking_uri)
    if as_json:
        print_json(reach.model_dump(mode="json"))
    else:
        show_reach(console, reach)


@lineage.command("version", epilog="Example: tidegate lineage version champion --model support")
def version(
    version: Annotated[str, typer.Argument(help="A version, or an alias such as champion.")],
    model: Model = "assistant",
    home: Place = None,
    tracking_uri: Tracking = None,
    as_json: AsJson = False,
) -> None:
    """Every step from the base to a version: batches, rows learned and replayed, statements."""
    place, console = start(home, as_json)
    from tidegate.flows.tracing.version import show_version, trace_version

    found = trace_version(place, model, version, tracking_uri)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        show_version(console, found)
