"""`tidegate waiver …`: people take one step back from one ruling, signed and for a while."""

import getpass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from tidegate.flows.commands.common import (
    AsJson,
    Floor,
    Model,
    Place,
    Tracking,
    print_json,
    seconds,
    start,
)
from tidegate.flows.commands.key import passphrase

waiver = typer.Typer(
    help="One step back from one ruling about one version, signed, and for a while.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
Version = Annotated[str, typer.Argument(help="A version, or an alias such as candidate.")]
Key = Annotated[Path, typer.Option("--key", help="Your private key file.")]
File = Annotated[Path, typer.Argument(help="A waiver file.")]


@waiver.command(
    "new",
    epilog="Example: tidegate waiver new 4 --model support --gate 'learned(update.answer_nll)' "
    "--reason 'the batch repeats known facts on purpose' --ticket OPS-12 --expires 48h "
    "--key ~/.config/tidegate/keys/ada.pem",
)
def new(
    version: Version,
    gate: Annotated[str, typer.Option(help="Title of one gate, as the report shows it.")],
    reason: Annotated[str, typer.Option(help="Why this ruling may be waived this once.")],
    ticket: Annotated[str, typer.Option(help="Where it was discussed.")],
    key: Key,
    expires: Annotated[
        str, typer.Option(help="How long it counts, as 90m, 48h or 2d.")
    ] = "24h",
    requester: Annotated[
        str | None, typer.Option(help="Who asked for the update; you, if not given.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File to write; below the home if not given.")
    ] = None,
    model: Model = "assistant",
    home: Place = None,
    tracking_uri: Tracking = None,
    as_json: AsJson = False,
) -> None:
    """Write and sign a waiver for one ruling about one version."""
    place, console = start(home, as_json)
    from tidegate.flows.signing.keys import load_signer
    from tidegate.flows.waiving.waivers import (
        check_waiver,
        kept_path,
        new_waiver,
        said,
        show_check,
        write_new,
    )

    now = datetime.now(UTC)
    data = new_waiver(
        place,
        model,
        _number(version, model, place.root, tracking_uri),
        gate=gate,
        reason=reason,
        ticket=ticket,
        requester=requester or getpass.getuser(),
        lasts=seconds("--expires", expires),
        now=now,
        signer=load_signer(key.expanduser(), passphrase),
    )
    path = out or kept_path(place, said(data).digest)
    write_new(path, data)
    found = check_waiver(data, path, place, now)
    if as_json:
        print_json({**found.model_dump(mode="json"), "state": found.state})
    else:
        show_check(console, found)


@waiver.command("sign", epilog="Example: tidegate waiver sign waiver.json --key bob.pem")
def sign(file: File, key: Key, as_json: AsJson = False) -> None:
    """Add your signature to a waiver, after reading what it says (four eyes)."""
    _, console = start(None, as_json)
    from tidegate.flows.signing.keys import load_signer
    from tidegate.flows.waiving.waivers import show_waiver
    from tidegate.flows.waiving.waivers import sign as signed

    found = signed(file, load_signer(key.expanduser(), passphrase))
    if as_json:
        print_json({"path": str(file), "digest": found.digest, **found.model_dump(mode="json")})
    else:
        console.print(f"[bold]{escape(str(file))}[/]: signed")
        show_waiver(console, found)


@waiver.command("verify", epilog="Example: tidegate waiver verify waiver.json --policy p.yaml")
def verify(
    file: File,
    policy: Annotated[
        Path | None,
        typer.Option(help="Check against this policy alone, without the home (offline)."),
    ] = None,
    floor: Floor = None,
    home: Place = None,
    as_json: AsJson = False,
) -> None:
    """Say whether a waiver counts now (exit 0), or every reason why not (exit 1)."""
    place, console = start(home, as_json)
    from tidegate.flows.rules import read_policy
    from tidegate.flows.waiving.waivers import check_offline, check_waiver, read, show_check

    now, data = datetime.now(UTC), read(file)
    if policy is not None:
        found = check_offline(data, file, read_policy(policy, floor), now)
    else:
        found = check_waiver(data, file, place, now)
    if as_json:
        print_json({**found.model_dump(mode="json"), "state": found.state})
    else:
        show_check(console, found)
        if policy is not None and not found.reasons:
            console.print("  not checked offline: whether the candidate and its ruling exist")
    raise typer.Exit(found.exit_code)


@waiver.command("list", epilog="Example: tidegate waiver list --model support")
def list_(
    model: Annotated[
        str | None, typer.Option("--model", help="Of this model line only.")
    ] = None,
    home: Place = None,
    as_json: AsJson = False,
) -> None:
    """The waivers that the home keeps: which count, which expired, which are refused and why."""
    place, console = start(home, as_json)
    from tidegate.flows.waiving.waivers import list_waivers, show_check

    found = list_waivers(place, model, datetime.now(UTC))
    if as_json:
        print_json([{**c.model_dump(mode="json"), "state": c.state} for c in found])
        return
    for check in found:
        show_check(console, check)
    if not found:
        console.print("no waivers are kept here")


@waiver.command("apply", epilog="Example: tidegate waiver apply 4 --model m --waiver w.json")
def apply(
    version: Version,
    waivers: Annotated[
        list[Path], typer.Option("--waiver", help="A waiver file; once for each ruling.")
    ],
    model: Model = "assistant",
    home: Place = None,
    tracking_uri: Tracking = None,
    as_json: AsJson = False,
) -> None:
    """Decide about a version again from its stored evidence, with waivers."""
    place, console = start(home, as_json)
    from tidegate.flows.waiving.apply import apply_waivers, show_applied

    done = apply_waivers(
        place, model, version, waivers, now=datetime.now(UTC), tracking_uri=tracking_uri
    )
    if as_json:
        print_json(done.model_dump(mode="json"))
    else:
        show_applied(console, done)
    raise typer.Exit(done.exit_code)


def _number(version: str, model: str, home: Path, tracking_uri: str | None) -> str:
    if version.isdigit():
        return version  # the ledger knows it; MLflow need not be asked
    from tidegate.flows.home import Home
    from tidegate.flows.registry import Registry

    return Registry.open(Home(home), tracking_uri).aliases(model).get(version, version)
