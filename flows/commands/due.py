"""`tidegate due`: whether it is time for an update."""

from typing import Annotated

import typer

from tidegate.flows.commands.common import (
    AsJson,
    Drops,
    Fill,
    Model,
    Place,
    pairs,
    print_json,
    seconds,
    start,
)

EXAMPLE = "Example: tidegate due drops --rows 200 --age 7d && tidegate update drops"


def due(
    drops: Drops,
    rows: Annotated[int, typer.Option(help="So many new rows are enough.")] = 200,
    age: Annotated[
        str, typer.Option(help="So long after the last update, any new row is enough.")
    ] = "7d",
    drift: Annotated[
        bool, typer.Option("--drift", help="Any new row is enough if the drops have drifted.")
    ] = False,
    model: Model = "assistant",
    fill: Fill = None,
    home: Place = None,
    as_json: AsJson = False,
) -> None:
    """Say whether an update is due, and why: exit 0 due, 2 not due. Changes nothing."""
    place, console = start(home, as_json)
    from tidegate.flows.waking import look

    found = look(
        drops,
        place,
        model,
        rows=rows,
        age=seconds("--age", age),
        defaults=pairs(fill),
        drifting=drift,
    )
    if as_json:
        print_json({"model": model, **found.model_dump(mode="json")})
    else:
        console.print(("due: " if found.due else "not due: ") + found.reason, markup=False)
    raise typer.Exit(found.exit_code)
