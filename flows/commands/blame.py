"""`tidegate blame`: which slice of a batch made a candidate fail."""

from pathlib import Path
from typing import Annotated

import typer

from tidegate.flows.commands.common import (
    AsJson,
    Model,
    Place,
    Suites,
    Tracking,
    print_json,
    start,
)

EXAMPLE = "Example: tidegate blame 4 --model support --out drops/without.jsonl"


def blame(
    version: Annotated[str, typer.Argument(help="A rejected or held version, or an alias.")],
    model: Model = "assistant",
    out: Annotated[
        Path | None, typer.Option(help="Write the drop without what is blamed.")
    ] = None,
    rows: Annotated[int, typer.Option(min=8, help="Rows that one probe learns.")] = 64,
    probes: Annotated[int, typer.Option(min=2, help="How many probes may be made.")] = 24,
    suites: Suites = None,
    home: Place = None,
    tracking_uri: Tracking = None,
    as_json: AsJson = False,
) -> None:
    """Find the source, author, day or cluster of a batch that made a version fail.

    Short trainings from the same parent, each on some of the rows, halve the batch until one
    slice is left; one more learns everything but that slice. Each failed suite is searched by
    itself. Exit code 0 if a slice is named, 2 if none is.
    """
    place, console = start(home, as_json)
    from tidegate.flows.blaming.blame import blame as find
    from tidegate.flows.blaming.blame import show
    from tidegate.flows.progress import report, showing

    with showing(console):
        said = find(
            model,
            version,
            place,
            out=out,
            rows=rows,
            most=probes,
            suites=suites,
            tracking_uri=tracking_uri,
            progress=report,
        )
    if as_json:
        print_json(said.model_dump(mode="json"))
    else:
        show(console, said)
    raise typer.Exit(said.exit_code)
