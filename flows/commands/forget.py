"""`tidegate forget`: erase records, or all of an author, from the home and what it serves."""

import json
import sys
from typing import Annotated

import typer

from tidegate.flows.commands.common import AsJson, Place, Tracking, print_json, start

EXAMPLE = (
    "Examples: tidegate forget --user 'ada@example.org' --plan  ·  tidegate forget --record "
    "t-00931 --record t-00932 --reason 'ticket 4711' --twin --yes"
)


def forget(
    records: Annotated[
        list[str] | None, typer.Option("--record", help="Id of a record; again for more.")
    ] = None,
    users: Annotated[
        list[str] | None,
        typer.Option("--user", help="An author, by the name in drops or the pseudonym."),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Refuse if another model line is reached too.")
    ] = None,
    reason: Annotated[
        str, typer.Option(help="Why; it goes into the ledger for good, so name nobody.")
    ] = "not given",
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what it reaches and what it would do; no more.")
    ] = False,
    no_rebuild: Annotated[
        bool, typer.Option("--no-rebuild", help="Erase, and leave the last clean version.")
    ] = False,
    twin: Annotated[
        bool,
        typer.Option(
            "--twin", help="Also train a never-trained twin, and compare the rebuilt version."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: Place = None,
    tracking_uri: Tracking = None,
    as_json: AsJson = False,
) -> None:
    """Erase records or authors: stores, weights, and a rebuild without them through all gates.

    Ends with 0 if all was rebuilt, 2 if a gate stopped the rebuild or the comparison with a twin
    says nothing, 4 if something was still found.
    """
    if twin and no_rebuild:
        raise typer.BadParameter("--twin compares what was rebuilt; leave out --no-rebuild")
    if not records and not users:
        raise typer.BadParameter("name what to forget: --record ID or --user NAME")
    place, console = start(home, as_json)
    from tidegate.flows.erasing.forget import forget as run_forget
    from tidegate.flows.erasing.forget import plan_of, wanted_of
    from tidegate.flows.erasing.plan import show_plan
    from tidegate.flows.erasing.show import show_forgotten
    from tidegate.flows.erasing.state import request_of
    from tidegate.flows.provenance import login_name

    wanted = wanted_of(place, records or (), users or ())
    reached = plan_of(place, wanted, model, tracking_uri)
    marks = {
        "request": request_of(wanted),
        "records": sorted(wanted.records),
        "authors": sorted(wanted.authors),
    }
    if plan and as_json:
        print_json({**reached.model_dump(mode="json"), "marks": marks})
    elif not as_json:
        show_plan(console, reached)
    if plan and not as_json:
        console.print("as the deployment `forget` takes it:")
        for name, value in marks.items():
            console.print(f"  {name:<8} {json.dumps(value)}", highlight=False, soft_wrap=True)
    if plan:
        return
    if not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("this cannot be undone; look at --plan, then give --yes")
        typer.confirm("This cannot be undone. Erase?", abort=True, err=True)
    from tidegate.flows.engine import start_engine
    from tidegate.flows.progress import showing

    with showing(console):
        start_engine()
        done = run_forget(
            records=sorted(wanted.records),
            authors=sorted(wanted.authors),
            home=str(place.root),
            model=model,
            reason=reason,
            who=login_name(),
            tracking_uri=tracking_uri,
            again=not no_rebuild,
            compare=twin,
        )
    if as_json:
        document = {"exact": done.state.verified is not None and done.state.verified.exact}
        print_json({**document, "rebuilt": done.rebuilt, **done.state.model_dump(mode="json")})
    else:
        show_forgotten(console, done)
    raise typer.Exit(done.exit_code)
