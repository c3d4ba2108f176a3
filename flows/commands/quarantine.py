"""`tidegate quarantine …`: look at what the data gates refused, release it, or forget it."""

import getpass
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from tidegate.flows.commands.common import (
    DEFAULT_POLICY,
    AsJson,
    Floor,
    Place,
    PolicyFile,
    print_json,
    seconds,
    start,
)
from tidegate.flows.commands.key import passphrase
from tidegate.flows.commands.waiver import Key

quarantine = typer.Typer(
    help="What the data gates refused: look at it, release it, or forget it.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
InBatch = Annotated[str | None, typer.Option("--batch", help="Digest of the batch.")]


@quarantine.command("list", epilog="Example: tidegate quarantine list --json")
def list_(home: Place = None, as_json: AsJson = False) -> None:
    """By batch: how many records, which gates, how old. Never text."""
    place, console = start(home, as_json)
    from tidegate.flows.quarantining.listing import list_held, show_held

    held = list_held(place, datetime.now(UTC))
    if as_json:
        print_json([one.model_dump(mode="json") for one in held])
    else:
        show_held(console, held)
    raise typer.Exit(4 if any(one.broken for one in held) else 0)


@quarantine.command("show", epilog="Example: tidegate quarantine show t-00931 --text")
def show(
    name: Annotated[str, typer.Argument(metavar="ID", help="Id of a record.")],
    text: Annotated[
        bool,
        typer.Option("--text", help="Show what it says; the ledger records that you looked."),
    ] = False,
    batch: InBatch = None,
    home: Place = None,
    as_json: AsJson = False,
) -> None:
    """One record: what is known of it, the gates that refused it, and why."""
    if text and (as_json or not sys.stdout.isatty()):
        raise typer.BadParameter(
            "--text is shown on a terminal only, so that text of users stays out of files and "
            "logs; leave out --json, and do not redirect"
        )
    place, console = start(home, as_json)
    from tidegate.flows.quarantining.look import (
        look_at,
        print_look,
        print_record,
        show_record,
    )

    record = show_record(place, name, batch)
    if as_json:
        print_json(record.model_dump(mode="json"))
        return
    print_record(console, record)
    if text:
        print_look(console, look_at(place, record, getpass.getuser(), datetime.now(UTC)))


@quarantine.command(
    "release",
    epilog="Example: tidegate quarantine release t-00931 t-00932 --reason 'a template of ours' "
    "--key ~/.config/tidegate/keys/ada.pem --policy policies/support.yaml",
)
def release(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of one batch.")],
    reason: Annotated[str, typer.Option(help="Why they may be learned after all.")],
    key: Key,
    policy: PolicyFile = DEFAULT_POLICY,
    expires: Annotated[
        str, typer.Option(help="How long it counts, as 90m, 48h or 2d.")
    ] = "24h",
    batch: InBatch = None,
    floor: Floor = None,
    home: Place = None,
    as_json: AsJson = False,
) -> None:
    """Sign that records may be learned; the next check of their batch keeps them."""
    place, console = start(home, as_json)
    from tidegate.flows.quarantining.release import release_records, show_release
    from tidegate.flows.rules import read_policy
    from tidegate.flows.signing.keys import load_signer

    done = release_records(
        place,
        ids,
        read_policy(Path(policy), floor),
        load_signer(key.expanduser(), passphrase),
        reason=reason,
        lasts=seconds("--expires", expires),
        now=datetime.now(UTC),
        batch=batch,
    )
    if as_json:
        print_json(done.model_dump(mode="json"))
    else:
        show_release(console, done)


@quarantine.command(
    "purge",
    epilog="Examples: tidegate quarantine purge --older-than 30d · tidegate quarantine purge "
    "--batch sha256:…  ·  tidegate quarantine purge t-00931",
)
def purge(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID...]", help="Ids of records.")
    ] = None,
    older_than: Annotated[
        str | None, typer.Option(help="All that are here for longer, as 30d.")
    ] = None,
    batch: InBatch = None,
    home: Place = None,
    as_json: AsJson = False,
) -> None:
    """Forget records for good: their text and the key to it, with the batch as it arrived.

    Without any choice, those that are here for more than 30 days.
    """
    if older_than is not None and (ids or batch):
        raise typer.BadParameter("--older-than chooses by age; give it without ids and --batch")
    place, console = start(home, as_json)
    from tidegate.flows.quarantining.purge import (
        RETENTION_DAYS,
        purge_batch,
        purge_older,
        purge_records,
        show_purged,
    )

    who, now = getpass.getuser(), datetime.now(UTC)
    if ids:
        done = purge_records(place, ids, batch, who, now)
    elif batch:
        done = purge_batch(place, batch, who, now)
    else:
        age = timedelta(seconds=seconds("--older-than", older_than or f"{RETENTION_DAYS}d"))
        done = purge_older(place, age, who, now)
    if as_json:
        print_json({"records": done.records, **done.model_dump(mode="json")})
    else:
        show_purged(console, done)
