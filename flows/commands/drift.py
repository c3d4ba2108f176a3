"""`tidegate drift`: how what has arrived differs from what the champion learned."""

from datetime import UTC, datetime

import typer

from tidegate.flows.commands.common import (
    AsJson,
    Drops,
    Fill,
    Model,
    Place,
    pairs,
    print_json,
    start,
)

EXAMPLE = "Example: tidegate drift drops --model assistant"


def drift(
    drops: Drops,
    model: Model = "assistant",
    fill: Fill = None,
    home: Place = None,
    as_json: AsJson = False,
) -> None:
    """Compare drops with what the champion learned: exit 0 alike, 2 drifted. Changes nothing."""
    place, console = start(home, as_json)
    from rich.table import Table

    from tidegate.flows.drifting.drift import drift_of

    found = drift_of(drops, place, model, datetime.now(UTC), pairs(fill))
    if as_json:
        print_json({"model": model, "drifted": found.drifted, **found.model_dump(mode="json")})
    else:
        table = Table("compared", "seen", "limit", "")
        for change in found.changes:
            said = "drifted" if change.drifted else ""
            table.add_row(change.what, f"{change.seen:.3f}", f"{change.limit:.3f}", said)
        if found.changes:
            console.print(table)
        console.print(found.reason, markup=False)
    raise typer.Exit(2 if found.drifted else 0)
