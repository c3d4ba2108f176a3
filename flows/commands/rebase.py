"""`tidegate rebase`: a line's recorded updates, learned again on another base."""

from typing import Annotated

import typer

from tidegate.flows.commands.common import AsJson, Place, Tracking, print_json, start

EXAMPLE = (
    "Examples: tidegate rebase --model support --base models/next-instruct --plan  ·  tidegate "
    "rebase --model support --base models/next-instruct --to support-next"
)


def rebase(
    model: Annotated[str, typer.Option("--model", help="The line whose chain is repeated.")],
    base: Annotated[
        str, typer.Option("--base", help="The other base: an embedded model, or a folder.")
    ],
    to: Annotated[
        str | None,
        typer.Option("--to", help="Name of the new model line.", show_default="LINE-BASE"),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show the chain and what is done of it; no more.")
    ] = False,
    home: Place = None,
    tracking_uri: Tracking = None,
    as_json: AsJson = False,
) -> None:
    """Learn a line's recorded updates again on another base, in a new line, through all gates.

    Then both champions are asked every past update's held-out questions. Killed or stopped by a
    gate, the same command goes on. Ends with 0 if all was promoted, else as the update that
    stopped it.
    """
    place, console = start(home, as_json)
    from tidegate.flows.progress import report, showing
    from tidegate.flows.rebasing.plan import make_plan, show_plan

    if plan:
        with showing(console):
            planned, _ = make_plan(place, model, base, to, report)
        if as_json:
            print_json(planned.model_dump(mode="json"))
        else:
            show_plan(console, planned)
        return
    from tidegate.flows.engine import start_engine
    from tidegate.flows.provenance import login_name
    from tidegate.flows.rebasing.rebase import rebase as run_rebase
    from tidegate.flows.rebasing.show import show_rebased

    with showing(console):
        start_engine()
        done = run_rebase(
            model=model,
            base=base,
            home=str(place.root),
            to=to,
            who=login_name(),
            tracking_uri=tracking_uri,
        )
    if as_json:
        print_json(done.model_dump(mode="json"))
    else:
        show_rebased(console, done)
    raise typer.Exit(done.exit_code)
