"""What the ledger says about a version."""

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.registry import Registry, RegistryError
from tidegate.flows.reviewing.wording import clean


def statement_of(
    model: str, version: str, home: Home, tracking_uri: str | None
) -> tuple[str, dict[str, Any]]:
    """Digest and content of the statement that decided about a version (or an alias's).

    Raises RegistryError if there is no such version, and BrokenLedger if the ledger is not
    what was written.
    """
    registry = Registry.open(home, tracking_uri)
    number = registry.aliases(model).get(version, version)
    tags = dict(registry.find(model, number).tags)
    digest = tags.get("gov.statement", "")
    found = Ledger(home.ledger).find(digest)
    if found is None:
        raise RegistryError(
            f"version {number} of {model!r} has no statement in {home.ledger}: it was not "
            "decided here, or its tag gov.statement was changed; do not serve it"
        )
    predicate = found["predicate"]
    about = predicate["about"]
    if predicate["model"] != model or str(about.get("version", number)) != number:
        raise RegistryError(
            f"the tag gov.statement of version {number} of {model!r} names the statement about "
            f"version {about.get('version')} of {predicate['model']!r}: the tag was changed; "
            "do not serve it"
        )
    return digest, found


def print_statement(console: Console, digest: str, found: dict[str, Any]) -> None:
    predicate = found["predicate"]
    about = predicate["about"]
    console.print(
        f"[bold]{escape(predicate['model'])}[/] version {about.get('version', '1')}: "
        f"{predicate['act']} → {about['action']}, {predicate['decidedAt']}",
        highlight=False,
    )
    rulings = about.get("rulings", [])
    if rulings:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for column in ("verdict", "gate", "what was seen"):
            table.add_column(column, overflow="fold")
        for ruling in rulings:
            table.add_row(
                ruling["outcome"].upper() + _by_people(ruling),
                escape(ruling["gate"]),
                escape(ruling["reason"]),
            )
        console.print(table)
        for waiver in about.get("waivers", ()):
            console.print(
                f"  waived {escape(clean(waiver['gate']))}: {escape(clean(waiver['reason']))} "
                f"({escape(clean(waiver['ticket']))}; {escape(', '.join(waiver['signers']))})",
                highlight=False,
            )
        for kind in ("approvals", "refusals"):
            for one in about.get(kind, ()):
                console.print(
                    f"  {kind[:-1]} by {escape(clean(one['by']))}: {escape(clean(one['reason']))}",
                    highlight=False,
                )
    else:
        console.print(escape(about["reason"]))
    for subject in found["subject"]:
        value = next(iter(subject["digest"].values()))
        console.print(f"  {subject['name']:<16}{value}", highlight=False)
    if "index" in predicate:
        console.print(f"  {'ledger line':<16}{predicate['index']}", highlight=False)
    console.print(f"  {'statement':<16}{digest.removeprefix('sha256:')}", highlight=False)


def _by_people(ruling: dict[str, Any]) -> str:
    said = [word for word in ("waived", "approved") if ruling.get(word)]
    return f" ({', '.join(said)})" if said else ""
