"""`tidegate gateway …`: the keys by which a serving gateway's answers are known."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape

from tidegate.flows.commands.common import AsJson, Place, print_json
from tidegate.flows.home import Home

gateway = typer.Typer(
    help="Keys that a serving gateway signs its answers with.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@gateway.command(
    "new", epilog="Example: tidegate gateway new --out ~/.config/tidegate/keys/gateway.key"
)
def new(
    out: Annotated[
        Path, typer.Option(help="File for the gateway's key; never one that exists.")
    ],
    algorithm: Annotated[
        Literal["ed25519", "hmac-sha256"],
        typer.Option(help="hmac-sha256: faster, but this home then holds the secret as well."),
    ] = "ed25519",
    home: Place = None,
    as_json: AsJson = False,
) -> None:
    """Make a gateway's key and trust it here; the gateway gets the file."""
    from tidegate.flows.gateway import keys

    place, out = Home.find(home), out.expanduser()
    keys.trusted(place)  # a damaged folder is said before a key is made
    made = keys.new(out, algorithm)
    kept = keys.trust(place, made.public)
    if as_json:
        print_json({"keyid": made.keyid, "algorithm": algorithm, "key": str(out)})
        return
    console = Console()
    console.print(f"{escape(str(out))}: for the gateway alone; keep no other copy")
    console.print(f"{escape(str(kept))}: verifies what it signs")
    console.print(f"\n  keyid  {made.keyid}", highlight=False)


@gateway.command("show", epilog="Example: tidegate gateway show --json")
def show(home: Place = None, as_json: AsJson = False) -> None:
    """List the keys that are trusted here."""
    from tidegate.flows.gateway import keys

    trusted = keys.trusted(Home.find(home))
    if as_json:
        print_json([{"keyid": k.keyid, "algorithm": k.algorithm} for k in trusted.values()])
        return
    console = Console()
    for key in trusted.values():
        console.print(f"{key.keyid}  {key.algorithm}", highlight=False)
    if not trusted:
        console.print("no gateway is trusted here: every record is unsigned, or forged")


@gateway.command("trust", epilog="Example: tidegate gateway trust gateway.key")
def trust(
    key: Annotated[str, typer.Argument(help="A key file, or an Ed25519 public key (base64).")],
    home: Place = None,
    as_json: AsJson = False,
) -> None:
    """Believe what a key signs, from the next check on."""
    from tidegate.flows.gateway import keys

    named = keys.given(key)
    keys.trust(Home.find(home), named)
    _said("trusted", named.keyid, named.algorithm, as_json)


@gateway.command("revoke", epilog="Example: tidegate gateway revoke 3f1c9a0b7d24e685")
def revoke(
    keyid: Annotated[str, typer.Argument(help="As `tidegate gateway show` lists it.")],
    home: Place = None,
    as_json: AsJson = False,
) -> None:
    """Believe a key no longer: whatever it signed, or will, counts as forged."""
    from tidegate.flows.gateway import keys

    gone = keys.revoke(Home.find(home), keyid)
    _said("revoked", gone.keyid, gone.algorithm, as_json)


def _said(done: str, keyid: str, algorithm: str, as_json: bool) -> None:
    if as_json:
        print_json({done: keyid, "algorithm": algorithm})
    else:
        Console().print(f"{keyid}: {done} ({algorithm})", highlight=False)
