"""`tidegate key …`: keys of reviewers, and of the pipeline itself."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from tidegate.flows.commands.common import AsJson, Place, print_json
from tidegate.flows.home import Home

key = typer.Typer(
    help="Keys of reviewers, and of the pipeline itself.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@key.command(
    "new", epilog="Example: tidegate key new ada --out ~/.config/tidegate/keys/ada.pem"
)
def new(
    name: Annotated[str, typer.Argument(help="The reviewer's name.")],
    out: Annotated[Path, typer.Option(help="File for the private key; never one that exists.")],
    role: Annotated[
        list[str] | None,
        typer.Option(help="What the reviewer may sign; model-reviewer if none."),
    ] = None,
    encrypt: Annotated[
        bool,
        typer.Option(
            "--encrypt", help="With a passphrase: $TIDEGATE_KEY_PASSPHRASE, or you are asked."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make an Ed25519 key pair, and print the line that makes its owner a reviewer."""
    from tidegate.flows.signing.keys import new_key, reviewer_line

    roles = role or ["model-reviewer"]
    if not all(word.strip() for word in (name, *roles)):
        raise typer.BadParameter("a name and its roles need at least one character")
    public = new_key(out.expanduser(), _new_passphrase() if encrypt else None)
    if as_json:
        document = {"name": name, "key": public.key, "roles": roles, "keyid": public.keyid}
        print_json({**document, "private_key": str(out)})
        return
    console = Console()
    console.print(f"{escape(str(out))}: private key of {escape(name)}; keep it to yourself")
    console.print("Put this line under `reviewers:` in the policy's file of reviewers:\n")
    console.print(escape(reviewer_line(name, public, roles)), soft_wrap=True, highlight=False)
    console.print(f"\n  keyid  {public.keyid}", soft_wrap=True, highlight=False)


@key.command("show", epilog="Example: tidegate key show ~/.config/tidegate/keys/ada.pem")
def show(
    file: Annotated[Path | None, typer.Argument(help="A private key file.")] = None,
    pipeline: Annotated[
        bool, typer.Option("--pipeline", help="The keys that this home signs with.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="With --pipeline: also write them into this folder.")
    ] = None,
    home: Place = None,
    as_json: AsJson = False,
) -> None:
    """Print the public half of a key."""
    from tidegate.flows.signing.keys import load_signer, public_of

    if pipeline == (file is not None):
        raise typer.BadParameter("give a private key file, or --pipeline")
    if file is None:
        _show_pipeline(Home.find(home), out, as_json)
        return
    public = public_of(load_signer(file.expanduser(), passphrase))
    if as_json:
        print_json(public.model_dump())
        return
    console = Console()
    console.print(
        f"key    {public.key}\nkeyid  {public.keyid}", soft_wrap=True, highlight=False
    )


@key.command("rotate", epilog="Example: tidegate key rotate")
def rotate(
    lost: Annotated[
        bool,
        typer.Option("--lost", help="The old private key is gone: the new one signs alone."),
    ] = False,
    home: Place = None,
    as_json: AsJson = False,
) -> None:
    """Sign the ledger with a new key from now on. What was signed before stays valid."""
    from tidegate.flows.ledger import Ledger

    book = Ledger(Home.find(home).ledger)
    digest = book.rotate(lost=lost)
    new = book.keys.trusted()[-1]
    if as_json:
        print_json({"statement": digest, **new.model_dump()})
        return
    Console().print(
        f"key    {new.key}\nkeyid  {new.keyid}\nstatement  {digest}",
        soft_wrap=True,
        highlight=False,
    )


def _show_pipeline(home: Home, out: Path | None, as_json: bool) -> None:
    from tidegate.flows.attesting import export_keys
    from tidegate.flows.ledger import Ledger
    from tidegate.flows.signing.head import vkey
    from tidegate.flows.usage import UsageError

    book = Ledger(home.ledger)
    keys = book.keys.trusted()
    if not keys:
        raise UsageError(f"{home.keys}: no key yet; the first update makes it")
    written = export_keys(book, out) if out else ()
    origin = book.origin()
    said = [{**one.model_dump(), "vkey": vkey(origin, one)} for one in keys]
    if as_json:
        print_json({"keys": said, "written": [str(path) for path in written]})
        return
    console = Console()
    for line in said:
        for name, value in line.items():
            console.print(f"{name:<6} {value}", soft_wrap=True, highlight=False)
    for path in written:
        console.print(escape(str(path)), soft_wrap=True, highlight=False)


def passphrase() -> str:
    """From the environment, or asked for without showing it."""
    from tidegate.flows.signing.keys import PASSPHRASE_VARIABLE

    given = os.environ.get(PASSPHRASE_VARIABLE)
    return given if given is not None else typer.prompt("Passphrase", hide_input=True, err=True)


def _new_passphrase() -> str:
    from tidegate.flows.signing.keys import PASSPHRASE_VARIABLE

    given = os.environ.get(PASSPHRASE_VARIABLE)
    if given is not None:
        return given
    return str(
        typer.prompt("New passphrase", hide_input=True, confirmation_prompt=True, err=True)
    )
