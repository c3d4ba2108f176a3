"""`tidegate ledger …`: the signed record of what was decided, and its verification."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from tidegate.flows.commands.common import AsJson, Place, print_json
from tidegate.flows.home import Home

ledger = typer.Typer(
    help="The signed record of what was decided, and its verification.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

Keys = Annotated[
    list[str] | None,
    typer.Option(
        "--key",
        help="Public key of the pipeline: base64, or a file. The home's own otherwise.",
        metavar="PUB",
    ),
]
BROKEN = 4


@ledger.command("path", epilog="Example: cp $(tidegate ledger path) /media/backup/")
def path(home: Place = None) -> None:
    """Print where the ledger is."""
    sys.stdout.write(f"{Home.find(home).ledger}\n")


@ledger.command("head", epilog="Example: tidegate ledger head > kept/$(date +%F).head")
def head(home: Place = None) -> None:
    """Print the signed head. Kept elsewhere, it shows later that nothing was cut off."""
    from tidegate.flows.ledger import Ledger

    sys.stdout.write(Ledger(Home.find(home).ledger).headed()[0].decode())


@ledger.command(
    "verify",
    epilog="Example: tidegate ledger verify --path ledger.jsonl --key pipeline.pub "
    "--head kept/2026-11-02.head",
)
def verify(
    path: Annotated[
        Path | None, typer.Option(help="A ledger file; the home's own otherwise.")
    ] = None,
    heads: Annotated[
        list[Path] | None,
        typer.Option("--head", help="A head that was kept elsewhere; as many as there are."),
    ] = None,
    keys: Keys = None,
    home: Place = None,
    as_json: AsJson = False,
) -> None:
    """Find any line that was edited, removed, moved, put in or cut off. Works offline."""
    from tidegate.flows.signing.pipeline import PipelineKeys
    from tidegate.flows.verifying import verify as verify_file

    file = path or Home.find(home).ledger
    own = None if keys else PipelineKeys(Home.find(home).keys).own()
    seen = verify_file(file, _keys(keys, home), heads or (), own=own)
    if as_json:
        print_json(seen.model_dump(mode="json"))
    else:
        seen.show(Console())
    raise typer.Exit(BROKEN if seen.findings else 0)


@ledger.command("prove", epilog="Example: tidegate ledger prove 12 --out proofs")
def prove(
    index: Annotated[int, typer.Argument(help="Number of a line, from 0.")],
    out: Annotated[Path, typer.Option(help="Folder for the line and its proof.")] = Path("."),
    home: Place = None,
    as_json: AsJson = False,
) -> None:
    """Write one line and the proof that the ledger holds it, for somebody without the rest."""
    from tidegate.flows.attesting import prove as make
    from tidegate.flows.ledger import Ledger

    entry, proof = make(Ledger(Home.find(home).ledger), index)
    out.mkdir(parents=True, exist_ok=True)
    line, shown = out / f"{index}.intoto.json", out / f"{index}.tlog-proof"
    line.write_bytes(entry.line)
    shown.write_bytes(proof.text)
    if as_json:
        said = {"statement": entry.digest, "line": str(line), "proof": str(shown)}
        print_json({"index": index, **said})
    else:
        Console().print(f"{escape(str(line))}\n{escape(str(shown))}", soft_wrap=True)


@ledger.command(
    "check-proof",
    epilog="Example: tidegate ledger check-proof 12.intoto.json 12.tlog-proof --key pipeline.pub",
)
def check_proof(
    line: Annotated[Path, typer.Argument(help="The line, as `prove` wrote it.")],
    proof: Annotated[Path, typer.Argument(help="The proof.")],
    keys: Keys = None,
    home: Place = None,
    as_json: AsJson = False,
) -> None:
    """Check that a line is in the ledger of a signed head. Works offline."""
    from tidegate.flows.attesting import check_proof as check

    found = check(line.read_bytes(), proof.read_bytes(), _keys(keys, home))
    said: dict[str, Any] = {"origin": found.origin, "size": found.size, "keyid": found.keyid}
    if as_json:
        print_json(said)
    else:
        Console().print(
            f"in the ledger {escape(found.origin)} of {found.size} lines", soft_wrap=True
        )


@ledger.command(
    "extends", epilog="Example: tidegate ledger extends kept/2026-11-02.head --out grown.proof"
)
def extends(
    earlier: Annotated[Path, typer.Argument(help="A head that was kept.")],
    out: Annotated[Path, typer.Option(help="File for the proof.")],
    home: Place = None,
) -> None:
    """Write the proof that the ledger only grew since a head, for somebody without it.

    It is what a C2SP witness asks for before it signs a head too.
    """
    from tidegate.flows.attesting import prove_growth
    from tidegate.flows.ledger import Ledger

    growth = prove_growth(Ledger(Home.find(home).ledger), earlier.read_bytes())
    out.write_bytes(growth.text)
    Console().print(escape(str(out)), soft_wrap=True)


@ledger.command(
    "check-extends",
    epilog="Example: tidegate ledger check-extends 2026-11-02.head grown.proof --key pipeline.pub",
)
def check_extends(
    earlier: Annotated[Path, typer.Argument(help="The head that was kept.")],
    proof: Annotated[Path, typer.Argument(help="The proof, as `extends` wrote it.")],
    keys: Keys = None,
    home: Place = None,
    as_json: AsJson = False,
) -> None:
    """Check that a later head is over the lines of an earlier one. Works offline."""
    from tidegate.flows.attesting import check_growth

    found = check_growth(earlier.read_bytes(), proof.read_bytes(), _keys(keys, home))
    if as_json:
        print_json({"origin": found.origin, "size": found.size, "keyid": found.keyid})
    else:
        Console().print(
            f"{escape(found.origin)} only grew, to {found.size} lines", soft_wrap=True
        )


def _keys(given: list[str] | None, home: Path | None) -> tuple[Any, ...]:
    from tidegate.flows.signing.keys import PublicKey
    from tidegate.flows.signing.pipeline import PipelineKeys
    from tidegate.flows.usage import UsageError

    if given:
        return tuple(key for text in given for key in PublicKey.given(text))
    place = Home.find(home).keys
    own = PipelineKeys(place).trusted()
    if not own:
        raise UsageError(
            f"{place}: no key of a pipeline; give its public key with --key (its owner prints "
            "it with: tidegate key show --pipeline)"
        )
    return own
