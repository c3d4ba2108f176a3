"""What a reviewer sees of a version that was decided again with waivers.

The report of the update stays as it was: it shows the evidence, which did not change. These
pages show what people made of it: which rulings they took a step back from, why, and who.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from tidegate.flows.reviewing.page import LONGEST, escaped, rulings_page
from tidegate.flows.reviewing.report import page_templates, worst_first
from tidegate.flows.reviewing.wording import HEADLINE, because, short
from tidegate.gates.types import Action, Decision

Counted = Sequence[Mapping[str, Any]]  # `about.waivers` of the statement


def render_waived(
    model: str,
    version: str,
    decision: Decision,
    waivers: Counted,
    decided_at: datetime,
    statement: str,
) -> str:
    """The whole page as HTML; `index.html` beside it is the report of the update."""
    return (
        page_templates()
        .get_template("waived.html.j2")
        .render(
            title=f"{model}, version {version}: {HEADLINE[decision.action].lower()}, waived",
            model=model,
            version=version,
            decision=decision,
            word=f"{HEADLINE[decision.action]}, with waivers",
            because=_because(decision),
            rulings=worst_first(decision.rulings),
            waivers=waivers,
            decided_at=decided_at,
            statement=statement,
        )
    )


def waived_page(
    model: str,
    version: str,
    decision: Decision,
    waivers: Counted,
    statement: str,
    run_id: str,
    experiment: str,
) -> str:
    """Markdown for MLflow, of at most 5,000 characters: the waivers come before the table."""
    run = f"/#/experiments/{quote(experiment, safe='')}/runs/{quote(run_id, safe='')}"
    links = (
        f"[Waivers]({run}/artifacts/report/waived.html) · "
        f"[Report of the evidence]({run}/artifacts/report/index.html) · [Run]({run})"
    )
    lines = [
        f"# {HEADLINE[decision.action].upper()}, WITH WAIVERS",
        "",
        f"**{escaped(_because(decision), 300)}**",
        "",
        links,
        "",
        "| waived | why | ticket | signed by | until |",
        "| --- | --- | --- | --- | --- |",
    ]
    for waiver in waivers:
        cells = [
            escaped(str(waiver["gate"]), 60),
            escaped(str(waiver["reason"]), 200),
            escaped(str(waiver["ticket"]), 80),
            escaped(", ".join(waiver["signers"]), 120),
            escaped(str(waiver["expires"]), 40),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", f"Statement `{short(statement)}`.", ""]
    table = rulings_page(decision, f"{model} version {version}").splitlines()[2:]
    page = "\n".join([*lines, *table])
    while len(page) > LONGEST and len(table) > 2:
        table.pop()
        page = "\n".join([*lines, *table, "| | *more in the report* | | | |"])
    return page[:LONGEST]


def _because(decision: Decision) -> str:
    if decision.action is not Action.PROMOTE:
        return because(decision)
    waived = sum(1 for ruling in decision.rulings if ruling.waived)
    passed = len(decision.rulings) - waived
    return f"{passed} gates passed, {waived} did not and were waived."
