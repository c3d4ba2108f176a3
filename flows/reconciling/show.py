"""What was found, for a terminal, as a document, and as Markdown for the engine's pages."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tidegate.flows.reconciling.compare import Compared
from tidegate.flows.reconciling.repair import Repaired
from tidegate.flows.reviewing.page import escaped


def as_document(compared: Compared, repaired: Sequence[Repaired]) -> dict[str, Any]:
    """What `tidegate reconcile --json` prints."""
    return {
        "models": list(compared.models),
        "versions": compared.versions,
        "findings": [finding.model_dump(mode="json") for finding in compared.findings],
        "repaired": [one.model_dump(mode="json") for one in repaired],
    }


def show_compared(console: Console, compared: Compared, repaired: Sequence[Repaired]) -> None:
    for one in repaired:
        console.print(f"{escape(one.model)}: put back what the ledger says", highlight=False)
        console.print(f"  statement  {one.statement}", highlight=False, soft_wrap=True)
    if compared.findings:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for column in ("version", "finding", "what happened", "what would do"):
            table.add_column(column, overflow="fold")
        for found in compared.findings:
            where = f"{found.model} {found.version}".strip()
            table.add_row(escape(where), found.kind, escape(found.what), escape(found.do))
        console.print(table)
    console.print(summary(compared), highlight=False)


def summary(compared: Compared) -> str:
    looked = f"{len(compared.models)} model lines, {compared.versions} versions"
    if not compared.findings:
        return f"{looked}: as the ledger says"
    return f"{looked}: {len(compared.findings)} findings; serve nothing that they name"


def findings_page(compared: Compared) -> str:
    """The same as Markdown; whatever came from the registry is escaped."""
    lines = [f"# Ledger and registry: {summary(compared)}", ""]
    if compared.findings:
        lines += ["| model | version | finding | what happened | what would do |"]
        lines += ["| --- | --- | --- | --- | --- |"]
    for found in compared.findings:
        cells = (found.model, found.version, found.kind, found.what, found.do)
        lines.append("| " + " | ".join(escaped(str(cell), 600) for cell in cells) + " |")
    return "\n".join(lines) + "\n"
