"""`tidegate consolidate`: several accepted updates become one, by distillation."""

from pathlib import Path
from typing import Annotated

import typer

from tidegate.flows.commands.common import (
    AsJson,
    Floor,
    Model,
    Place,
    Suites,
    Tracking,
    print_json,
    start,
)

EXAMPLE = (
    "Examples: tidegate consolidate --model support --plan  ·  tidegate consolidate --model "
    "support --last 4 --policy policies/consolidation.yaml"
)


def consolidate(
    model: Model = "assistant",
    last: Annotated[
        int | None,
        typer.Option("--last", help="So many of the champion's updates.", show_default="all"),
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option("--policy", help="Policy.", show_default="the last update's file"),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            "--recipe",
            help="Recipe of the method distill.",
            show_default="made from the last update's",
        ),
    ] = None,
    suites: Suites = None,
    floor: Floor = None,
    requester: Annotated[
        str | None, typer.Option(help="Who asks for it; the user who runs this otherwise.")
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what would be merged, and how; no more.")
    ] = False,
    home: Place = None,
    tracking_uri: Tracking = None,
    as_json: AsJson = False,
) -> None:
    """Merge the champion's last updates into one adapter, through all gates of a policy.

    The champion teaches an adapter that continues from the version before them. A policy whose
    gate `learned` asks for a gain holds it, because nothing new is taught.
    """
    place, console = start(home, as_json)
    from tidegate.flows.consolidating.consolidate import consolidate as run_consolidate
    from tidegate.flows.consolidating.consolidate import make_plan, show_plan

    planned = make_plan(place, model, last, policy, recipe, floor)
    if plan and as_json:
        print_json(planned.model_dump(mode="json"))
    elif not as_json:
        show_plan(console, planned)
    if plan:
        return
    from tidegate.flows.engine import start_engine
    from tidegate.flows.progress import showing
    from tidegate.flows.terminal import show_result

    with showing(console):
        start_engine()
        result = run_consolidate(
            model=model,
            home=str(place.root),
            last=last,
            policy=str(policy) if policy else None,
            recipe=str(recipe) if recipe else None,
            floor=str(floor) if floor else None,
            suites=str(suites) if suites else None,
            requester=requester,
            tracking_uri=tracking_uri,
        )
    if as_json:
        print_json(result.as_document())
    else:
        show_result(console, result)
    raise typer.Exit(result.exit_code)
