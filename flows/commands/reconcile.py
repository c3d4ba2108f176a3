"""`tidegate reconcile`: is the registry what the ledger says?"""

from datetime import UTC, datetime
from typing import Annotated

import typer

from tidegate.flows.commands.common import AsJson, Place, Tracking, print_json, start

EXAMPLE = "Examples: tidegate reconcile · tidegate reconcile --model support --repair"


def reconcile(
    model: Annotated[
        str | None, typer.Option("--model", help="One model line; all of them otherwise.")
    ] = None,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="Put aliases and gov.* tags back; the ledger records it."
        ),
    ] = False,
    home: Place = None,
    tracking_uri: Tracking = None,
    as_json: AsJson = False,
) -> None:
    """Compare the registry with the ledger: aliases, tags, versions and files.

    Ends with 0 if nothing was found, 1 if something was, and 4 if the ledger is broken or the
    registry does not answer.
    """
    place, console = start(home, as_json)
    from tidegate.flows.notifying import tell_findings
    from tidegate.flows.reconciling.compare import compare
    from tidegate.flows.reconciling.repair import repair as put_back
    from tidegate.flows.reconciling.show import as_document, show_compared

    compared, repaired = compare(place, model, tracking_uri), []
    if repair:
        for name in compared.models:  # all: one that was killed at its very end has no finding
            done = put_back(place, name, datetime.now(UTC), tracking_uri)
            if done is not None:
                repaired.append(done)
        compared = compare(place, model, tracking_uri)
    tell_findings(place, compared.findings)
    if as_json:
        print_json(as_document(compared, repaired))
    else:
        show_compared(console, compared, repaired)
    raise typer.Exit(compared.exit_code)
