"""`tidegate approve`, `refuse` and `approvals`: people answer for what is held."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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

if TYPE_CHECKING:
    from tidegate.gates.approval import Word

APPROVE = (
    "Example: tidegate approve 4 --model support --key ~/.config/tidegate/keys/ada.pem "
    '--reason "read the report; the batch repeats known facts on purpose"'
)
REFUSE = (
    "Example: tidegate refuse 4 --model support --key ~/.config/tidegate/keys/ada.pem "
    '--reason "the refund policy in it is the old one"'
)
APPROVALS = "Example: tidegate approvals --model support"

Version = Annotated[str, typer.Argument(help="A version, or an alias such as candidate.")]
Key = Annotated[Path, typer.Option("--key", help="Your private key file.")]
Reason = Annotated[str, typer.Option(help="Why; it is signed, recorded and shown.")]
Expires = Annotated[
    str | None,
    typer.Option(
        help="How long it counts, as 90m, 48h or 2d.",
        show_default="as long as the policy allows",
    ),
]
Rules = Annotated[
    Path | None,
    typer.Option(
        "--policy", help="Refuse if this policy, or its proof, is not what the version had."
    ),
]


def approve(
    version: Version,
    key: Key,
    reason: Reason,
    expires: Expires = None,
    policy: Rules = None,
    floor: Floor = None,
    model: Model = "assistant",
    home: Place = None,
    tracking_uri: Tracking = None,
    as_json: AsJson = False,
) -> None:
    """Sign that a held version may serve; the last approval that is needed promotes it."""
    _answer(
        "approve",
        version,
        key,
        reason,
        expires,
        policy,
        floor,
        model,
        home,
        tracking_uri,
        as_json,
    )


def refuse(
    version: Version,
    key: Key,
    reason: Reason,
    model: Model = "assistant",
    home: Place = None,
    tracking_uri: Tracking = None,
    as_json: AsJson = False,
) -> None:
    """Sign that a held version may not serve; one refusal rejects it."""
    _answer(
        "refuse", version, key, reason, None, None, None, model, home, tracking_uri, as_json
    )


def approvals(
    model: Annotated[
        str | None, typer.Option("--model", help="Of this model line only.")
    ] = None,
    home: Place = None,
    tracking_uri: Tracking = None,
    as_json: AsJson = False,
) -> None:
    """What waits for people, since when, what is missing, and which tags ask."""
    place, console = start(home, as_json)
    from tidegate.flows.approving.waiting import show_waiting, waiting

    found = waiting(place, model, datetime.now(UTC), tracking_uri)
    if as_json:
        print_json([one.model_dump(mode="json") for one in found])
    else:
        show_waiting(console, found)


def _answer(
    word: "Word",
    version: str,
    key: Path,
    reason: str,
    expires: str | None,
    policy: Path | None,
    floor: Path | None,
    model: str,
    home: Path | None,
    tracking_uri: str | None,
    as_json: bool,
) -> None:
    place, console = start(home, as_json)
    from tidegate.flows.approving.answer import answer, show_answered
    from tidegate.flows.rules import read_policy
    from tidegate.flows.signing.keys import load_signer
    from tidegate.gates.policy.proof import read_proof

    done = answer(
        place,
        model,
        version,
        word,
        load_signer(key.expanduser(), passphrase),
        reason=reason,
        lasts=None if expires is None else seconds("--expires", expires),
        now=datetime.now(UTC),
        tracking_uri=tracking_uri,
        rules=(read_policy(policy, floor), read_proof(policy)) if policy else None,
    )
    if as_json:
        print_json(done.as_document())
    else:
        show_answered(console, done)
    raise typer.Exit(done.exit_code)
