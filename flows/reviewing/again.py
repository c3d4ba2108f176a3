"""What a reviewer sees of a version that people decided about again.

The report of the update stays as it was: it shows the evidence, which did not change. These
pages show what people made of it: what they waived, approved or refused, why, and who.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from tidegate.flows.reviewing.page import LONGEST, escaped, rulings_table
from tidegate.flows.reviewing.report import page_templates, worst_first
from tidegate.flows.reviewing.wording import HEADLINE, because
from tidegate.gates.types import Action, Decision

Said = Mapping[str, Any]  # `about` of the statement
WAIVERS = (("gate", 60), ("reason", 200), ("ticket", 80), ("signers", 120), ("expires", 40))
ANSWERS = (("by", 120), ("reason", 300), ("expires", 40))
# What is in `about`, the table's columns, and their keys with the longest text shown.
TABLES = (
    ("waivers", ("waived", "why", "ticket", "signed by", "until"), WAIVERS),
    ("approvals", ("approved by", "why", "until"), ANSWERS),
    ("refusals", ("refused by", "why", "until"), ANSWERS),
)


def render_decided(
    model: str,
    version: str,
    decision: Decision,
    said: Said,
    decided_at: datetime,
    statement: str,
) -> str:
    """The whole page as HTML; `index.html` beside it is the report of the update."""
    return (
        page_templates()
        .get_template("again.html.j2")
        .render(
            title=f"{model}, version {version}: {HEADLINE[decision.action].lower()}, by people",
            model=model,
            version=version,
            decision=decision,
            word=f"{HEADLINE[decision.action]}, {_how(said)}",
            because=_because(decision),
            rulings=worst_first(decision.rulings),
            waivers=said.get("waivers", ()),
            answers=[("Approved", said.get("approvals")), ("Refused", said.get("refusals"))],
            decided_at=decided_at,
            statement=statement,
        )
    )


def decided_page(
    model: str,
    version: str,
    decision: Decision,
    said: Said,
    statement: str,
    run_id: str,
    experiment: str,
) -> str:
    """Markdown for MLflow, of at most 5,000 characters: people come before the rulings."""
    run = f"/#/experiments/{quote(experiment, safe='')}/runs/{quote(run_id, safe='')}"
    links = (
        f"[Who decided, and why]({run}/artifacts/report/again.html) · "
        f"[Report of the evidence]({run}/artifacts/report/index.html) · [Run]({run})"
    )
    lines = [
        f"# {HEADLINE[decision.action].upper()}, {_how(said).upper()}",
        "",
        f"**{escaped(_because(decision), 300)}**",
        "",
        links,
        "",
    ]
    for kind, columns, cells in TABLES:
        lines += _table(said.get(kind, ()), columns, cells)
    lines += [f"Statement `{statement}`.", ""]
    table = list(rulings_table(decision.rulings))
    page = "\n".join([*lines, *table])
    while len(page) > LONGEST and len(table) > 2:
        table.pop()
        page = "\n".join([*lines, *table, "| | *more in the report* | | | |"])
    return page[:LONGEST]


def _table(
    rows: Sequence[Said], columns: Sequence[str], cells: Sequence[tuple[str, int]]
) -> Iterator[str]:
    if not rows:
        return
    yield f"| {' | '.join(columns)} |"
    yield f"| {' | '.join('---' for _ in columns)} |"
    for row in rows:
        texts = (
            (", ".join(row[key]) if key == "signers" else str(row[key]), limit)
            for key, limit in cells
        )
        yield f"| {' | '.join(escaped(text, limit) for text, limit in texts)} |"
    yield ""


def _how(said: Said) -> str:
    if said.get("refusals"):
        return "refused by people"
    how = [
        word
        for kind, word in (("approvals", "approved"), ("waivers", "waived"))
        if said.get(kind)
    ]
    return {"waived": "with waivers", "approved": "approved by people"}.get(
        " ".join(how), "approved by people, with waivers"
    )


def _because(decision: Decision) -> str:
    if decision.action is not Action.PROMOTE:
        return because(decision)
    waived = sum(1 for ruling in decision.rulings if ruling.waived)
    approved = sum(1 for ruling in decision.rulings if ruling.approved)
    passed = sum(1 for r in decision.rulings if not r.waived and not r.approved)
    said = [f"{passed} gates passed"]
    if waived:
        said.append(f"{waived} did not and {_were(waived)} waived")
    if approved:
        said.append(f"{approved} held and {_were(approved)} approved")
    return ", ".join(said) + "."


def _were(count: int) -> str:
    return "was" if count == 1 else "were"
