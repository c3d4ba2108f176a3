"""`tidegate reviewer …`: who may approve, refuse, waive and release."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from tidegate.flows.commands.common import AsJson, print_json, start

reviewer = typer.Typer(
    help="The file of reviewers that a policy names.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@reviewer.command(
    "add",
    epilog="Example: tidegate reviewer add --name ada --key 'mF3p…=' --file policies/reviewers.yaml",
)
def add(
    name: Annotated[str, typer.Option(help="The reviewer's name.")],
    key: Annotated[
        str,
        typer.Option(
            help="Public key: base64, or a file of it, or of PEM. Never a private one."
        ),
    ],
    role: Annotated[
        list[str] | None,
        typer.Option(help="What the reviewer may sign; model-reviewer if none."),
    ] = None,
    file: Annotated[Path, typer.Option(help="File to add to; made if it is not there.")] = Path(
        "policies/reviewers.yaml"
    ),
    as_json: AsJson = False,
) -> None:
    """Make the owner of a public key a reviewer. Does nothing the second time."""
    _, console = start(None, as_json)
    from tidegate.flows.approving.reviewers import add_reviewer
    from tidegate.flows.signing.keys import PublicKey

    roles = tuple(role or ["model-reviewer"])
    if not all(word.strip() for word in (name, *roles)):
        raise typer.BadParameter("a name and its roles need at least one character")
    keys = PublicKey.given(key)
    if len(keys) != 1:
        raise typer.BadParameter(f"--key: {len(keys)} keys; a reviewer has one")
    added = add_reviewer(file, name, keys[0], roles)
    if as_json:
        document = {"file": str(file), "added": added, "name": name, "roles": list(roles)}
        print_json({**document, **keys[0].model_dump()})
        return
    done = "is a reviewer" if added else "was a reviewer already"
    console.print(f"{escape(str(file))}: {escape(name)} {done}", highlight=False)
    if added:
        console.print(
            "A policy that names this file is another policy now: prove it again "
            "(tidegate policy prove)."
        )
