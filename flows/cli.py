"""The command line. Every command says what it did, and ends with a code a script can read:

0 promoted or done · 1 rejected · 2 held · 3 usage or configuration · 4 evidence missing or broken
"""

import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from tidegate.flows.commands import (
    approval,
    ask,
    blame,
    calibrate_data,
    consolidate,
    documents,
    drift,
    due,
    forget,
    metrics,
    rebase,
    reconcile,
)
from tidegate.flows.commands.common import (
    DEFAULT_POLICY,
    DEFAULT_RECIPE,
    AsJson,
    Drops,
    Engine,
    Fill,
    Floor,
    Model,
    Place,
    PolicyFile,
    Processes,
    RecipeFile,
    Suites,
    Tracking,
    Trusted,
    pairs,
    print_json,
    start,
)
from tidegate.flows.commands.context import context as context_commands
from tidegate.flows.commands.gateway import gateway as gateway_commands
from tidegate.flows.commands.key import key as key_commands
from tidegate.flows.commands.ledger import ledger as ledger_commands
from tidegate.flows.commands.lineage import lineage as lineage_commands
from tidegate.flows.commands.policy import policy as policy_commands
from tidegate.flows.commands.quarantine import quarantine as quarantine_commands
from tidegate.flows.commands.reviewer import reviewer as reviewer_commands
from tidegate.flows.commands.statement import statement as statement_commands
from tidegate.flows.commands.waiver import waiver as waiver_commands

USAGE, BROKEN, STOPPED = 3, 4, 130
# Typer carries its own click; its public BadParameter leads to the class of all its errors.
CommandLineError: Any = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="tidegate",
    help="Governed continual updates of a deployed language model.",
    epilog="Exit codes: 0 promoted or done, 1 rejected, 2 held, 3 usage or configuration, "
    "4 evidence missing or broken.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(policy_commands, name="policy")
app.add_typer(waiver_commands, name="waiver")
app.command("approve", epilog=approval.APPROVE)(approval.approve)
app.command("refuse", epilog=approval.REFUSE)(approval.refuse)
app.command("approvals", epilog=approval.APPROVALS)(approval.approvals)
app.add_typer(reviewer_commands, name="reviewer")
app.add_typer(key_commands, name="key")
app.add_typer(quarantine_commands, name="quarantine")
app.add_typer(context_commands, name="context")
app.command("calibrate-data", epilog=calibrate_data.EXAMPLE)(calibrate_data.calibrate_data)
app.add_typer(ledger_commands, name="ledger")
app.add_typer(lineage_commands, name="lineage")
app.add_typer(statement_commands, name="statement")
app.add_typer(gateway_commands, name="gateway")
app.command("ask", epilog=ask.EXAMPLE)(ask.ask)
app.command("drift", epilog=drift.EXAMPLE)(drift.drift)
app.command("metrics", epilog=metrics.EXAMPLE)(metrics.metrics)
app.command("due", epilog=due.EXAMPLE)(due.due)
app.command("documents", epilog=documents.EXAMPLE)(documents.documents)
app.command("blame", epilog=blame.EXAMPLE)(blame.blame)
app.command("reconcile", epilog=reconcile.EXAMPLE)(reconcile.reconcile)
app.command("forget", epilog=forget.EXAMPLE)(forget.forget)
app.command("rebase", epilog=rebase.EXAMPLE)(rebase.rebase)
app.command("consolidate", epilog=consolidate.EXAMPLE)(consolidate.consolidate)


@app.command(
    epilog="Example: tidegate update drops/2026-11-09.jsonl --policy policies/support.yaml "
    "--model support-assistant --json"
)
def update(
    drops: Drops,
    policy: PolicyFile = DEFAULT_POLICY,
    recipe: RecipeFile = DEFAULT_RECIPE,
    model: Model = "assistant",
    probes: Annotated[
        Path | None, typer.Option(help="Held-out questions about the batch, JSONL.")
    ] = None,
    suites: Suites = None,
    fill: Fill = None,
    floor: Floor = None,
    trusted: Trusted = None,
    requester: Annotated[
        str | None,
        typer.Option(help="Who asks for the update; the user who runs this otherwise."),
    ] = None,
    processes: Processes = None,
    home: Place = None,
    tracking_uri: Tracking = None,
    as_json: AsJson = False,
) -> None:
    """Learn from drops, if every gate of the policy passes: the whole cycle."""
    place, console = start(home, as_json)
    from tidegate.flows.engine import start_engine
    from tidegate.flows.progress import showing
    from tidegate.flows.terminal import show_result
    from tidegate.flows.update import update as run_update

    with showing(console):
        start_engine()
        result = run_update(
            drops=drops,
            policy=str(policy),
            recipe=str(recipe),
            model=model,
            home=str(place.root),
            tracking_uri=tracking_uri,
            probes=str(probes) if probes else None,
            suites=str(suites) if suites else None,
            defaults=pairs(fill),
            floor=str(floor) if floor else None,
            trusted=trusted,
            requester=requester,
            processes=processes,
        )
    if as_json:
        print_json(result.as_document())
    else:
        show_result(console, result)
    raise typer.Exit(result.exit_code)


@app.command(epilog="Example: tidegate check drops/*.jsonl --out report --emit-kept")
def check(
    drops: Drops,
    policy: PolicyFile = DEFAULT_POLICY,
    out: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("check-report"),
    emit_kept: Annotated[
        bool, typer.Option("--emit-kept", help="Also write kept.jsonl: what would be learned.")
    ] = False,
    fill: Fill = None,
    floor: Floor = None,
    trusted: Trusted = None,
    engine: Engine = None,
    home: Place = None,
    as_json: AsJson = False,
) -> None:
    """Ingest drops and run every data gate; train nothing, register nothing."""
    place, console = start(home, as_json)
    from tidegate.flows.check_only import check_drops
    from tidegate.flows.progress import showing
    from tidegate.flows.terminal import show_check

    with showing(console):
        seen = check_drops(
            drops,
            policy,
            place,
            out,
            emit_kept=emit_kept,
            defaults=pairs(fill),
            floor=floor,
            trusted=trusted,
            engine=engine,
        )
    if as_json:
        print_json(seen.document)
    else:
        show_check(console, seen)
    raise typer.Exit(seen.exit_code)


@app.command(epilog='Example: tidegate rollback --model support --reason "wrong refund policy"')
def rollback(
    reason: Annotated[str, typer.Option(help="Why; it goes into the ledger.")],
    model: Model = "assistant",
    to: Annotated[
        str | None, typer.Option(help="Version to serve again; the previous one otherwise.")
    ] = None,
    by: Annotated[
        str | None, typer.Option(help="Who asks for it; the user who runs this otherwise.")
    ] = None,
    home: Place = None,
    tracking_uri: Tracking = None,
    as_json: AsJson = False,
) -> None:
    """Serve an earlier version again. Recorded in the ledger before the alias moves."""
    place, console = start(home, as_json)
    from tidegate.flows.rollback import reported
    from tidegate.flows.rollback import rollback as roll

    done = roll(model, place, to=to, reason=reason, tracking_uri=tracking_uri, by=by)
    if as_json:
        print_json({"model": model, **done})
    else:
        console.print(
            f"{escape(model)}: version {done['now']} serves again instead of {done['was']}"
        )
        console.print(f"  statement  {done['statement']}", highlight=False)
    sys.stdout.flush()
    reported(place, model, reason=reason, by=by)


@app.command(epilog="Example: tidegate show 2 --model support")
def show(
    version: Annotated[str, typer.Argument(help="A version, or an alias such as champion.")],
    model: Model = "assistant",
    home: Place = None,
    tracking_uri: Tracking = None,
    as_json: AsJson = False,
) -> None:
    """What was decided about a version, from the ledger."""
    place, console = start(home, as_json)
    from tidegate.flows.show import print_statement, statement_of

    digest, found = statement_of(model, version, place, tracking_uri)
    if as_json:
        print_json({"digest": digest, "statement": found})
    else:
        print_statement(console, digest, found)


@app.command(epilog="Example: tidegate ui --model support --version 2")
def ui(
    model: Annotated[str | None, typer.Option(help="Show this model line.")] = None,
    version: Annotated[str | None, typer.Option(help="Show this version of it.")] = None,
    port: Annotated[int, typer.Option(help="Port on this machine.")] = 5000,
    home: Place = None,
) -> None:
    """Open MLflow's UI on the local registry. Ends with Ctrl-C."""
    place, console = start(home, False)
    from tidegate.flows.services import run_ui

    run_ui(place, console, model, version, port)


@app.command(
    "import-suite",
    epilog="Example: tidegate import-suite arc_easy --to suites --limit 300",
)
def import_suite(
    task: Annotated[str, typer.Argument(help="A multiple-choice task of lm-eval's registry.")],
    to: Annotated[Path, typer.Option(help="Folder of suites.")] = Path("suites"),
    limit: Annotated[int | None, typer.Option(help="The first items only.")] = None,
    registry: Annotated[
        Path | None, typer.Option(help="Folder of lm-eval tasks, instead of its own.")
    ] = None,
    home: Place = None,
) -> None:
    """Copy a task of lm-eval's registry into a suite on disk, which a policy can name."""
    _, console = start(home, False, online=True)
    from tidegate.evals.import_task import import_task

    suite = import_task(task, to, limit=limit, registry=registry)
    console.print(f"{suite.n:,} items in {suite.path}; name it as `suite: {suite.name}`")


@app.command(epilog="Example: tidegate serve --model support")
def serve(
    model: Model = "assistant",
    drops: Annotated[
        str, typer.Option(help="Where a run started in Prefect's UI looks for drops.")
    ] = "drops/*.jsonl",
    port: Annotated[int, typer.Option(help="Port of MLflow's UI.")] = 5000,
    prefect_port: Annotated[int, typer.Option(help="Port of Prefect's UI.")] = 4200,
    home: Place = None,
) -> None:
    """Run MLflow's UI, a Prefect server and a worker together, for one machine."""
    place, console = start(home, False)
    from tidegate.flows.services import run_services

    run_services(place, console, model, drops, port, prefect_port)


@app.command(epilog="Example: tidegate doctor --json")
def doctor(home: Place = None, tracking_uri: Tracking = None, as_json: AsJson = False) -> None:
    """Look at versions, model, registry, keys and engines: what is wrong and what to do."""
    place, console = start(home, as_json)
    from tidegate.flows.doctor import examine, print_findings

    findings = examine(place, tracking_uri)
    if as_json:
        print_json([finding.model_dump() for finding in findings])
    else:
        print_findings(console, findings)
    raise typer.Exit(USAGE if any(not finding.good for finding in findings) else 0)


@app.command(epilog="Example: tidegate demo --home demo-home")
def demo(home: Place = None) -> None:
    """A full governed cycle on a real model, then a poisoned drop that is refused."""
    place, console = start(home, False)
    from tidegate.flows.demo.run import run_demo

    raise typer.Exit(run_demo(place, console))


def main() -> None:
    """Run a command; an error that a user can mend is one line and the right exit code."""
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except CommandLineError as error:
        error.show()
        sys.exit(USAGE)
    except (typer.Abort, KeyboardInterrupt):
        sys.stderr.write("stopped; run the same command again to go on\n")
        sys.exit(STOPPED)
    except Exception as error:  # noqa: BLE001  # nothing goes on: it ends with a code of ours
        # Imported now and not above: these classes bring half the stack with them, and
        # nothing of it may be imported before the environment is prepared.
        from tidegate.flows.errors import (
            BROKEN_ERRORS,
            USAGE_ERRORS,
            no_engine,
            no_memory,
            no_room,
        )

        ran_out = no_memory(error) or no_room(error) or no_engine(error)
        if not isinstance(error, USAGE_ERRORS + BROKEN_ERRORS) and not ran_out:
            # Ours to mend, and no verdict: Python's own exit code would say "rejected".
            traceback.print_exc()
            sys.exit(BROKEN)
        sys.stderr.write(f"error: {ran_out or error}\n")
        sys.exit(BROKEN if isinstance(error, BROKEN_ERRORS) else USAGE)


if __name__ == "__main__":
    main()
