"""Great Expectations as second judge: the policy's data gates as a suite over the signals.

It sees the numbers of the records that are kept, measured again after masking: never a
text, and never an id. What Great Expectations lets pass in silence is made to fail here:

 * an empty table: every suite starts with a row count;
 * a column of nulls: every column has a not-null expectation, and a null is a hit;
 * a missing or crashed expectation: each one asked for must have given a result, and the
   suite's count must agree with the router's, or the measurement is broken.

Severity is critical for gates that reject and warning for gates that hold. The Data Docs
are HTML pages that show the same numbers; their links to other hosts are taken out.
"""

import importlib
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from tidegate.gates.routing import RowGate
from tidegate.gates.types import Broken, Measurement

# Counts only: the lists of unexpected values that GX would copy are cut to nothing.
COUNTS_ONLY = {"result_format": "SUMMARY", "partial_unexpected_count": 0}


@dataclass(frozen=True)
class Judged:
    """What the suite says: `left` of each gate as a measurement, or why there is none."""

    left: dict[str, Measurement | Broken]
    success: bool
    docs: Path | None


def judge_kept(
    gates: Sequence[RowGate],
    columns: Mapping[str, np.ndarray],
    rows: int,
    *,
    min_rows: int = 1,
    docs: Path | None = None,
) -> Judged:
    """Run the suite of these gates over the signals of the kept records.

    columns: name -> one number a kept record, NaN where not measured.
    docs: folder for the Data Docs, replaced if it is there; its name must say what it is,
    because all of it is deleted first.
    """
    if not rows:
        # GX finds nothing wrong with nothing. Nothing was judged, so nothing passes.
        return Judged(
            {gate.name: _broken(gate, "no record is left") for gate in gates}, False, None
        )
    measured = [gate for gate in gates if gate.is_measured(columns)]
    left: dict[str, Measurement | Broken] = {
        gate.name: _broken(gate, "its signal was not measured")
        for gate in gates
        if gate not in measured
    }
    frame = _frame(measured, columns, rows)
    try:
        results, success, written = _validate(measured, frame, min_rows, docs)
    except Exception as error:  # noqa: BLE001  GX raises anything; all of it is broken evidence
        reason = f"Great Expectations failed: {type(error).__name__}"
        broken = {gate.name: _broken(gate, reason) for gate in measured}
        return Judged({**left, **broken}, False, None)
    for gate in measured:
        left[gate.name] = _left(gate, frame, results, rows)
    whole = not any(isinstance(found, Broken) for found in left.values())
    return Judged(left, success and whole, written)


def _broken(gate: RowGate, reason: str) -> Broken:
    return Broken(name=f"data.{gate.name}.left", reason=reason)


def _frame(gates: Sequence[RowGate], columns: Mapping[str, np.ndarray], rows: int) -> Any:
    """The columns that rules read, and for each gate how many of its rules a record hits."""
    import pandas as pd

    data: dict[str, np.ndarray] = {}
    for gate in gates:
        hits = np.zeros(rows, dtype=np.int64)
        for rule, hit in zip(gate.rules, gate.hits(columns), strict=True):
            data[rule.column] = columns[rule.column]
            hits += hit
        data[_hits(gate)] = hits
    return pd.DataFrame(data, index=range(rows))


def _hits(gate: RowGate) -> str:
    return f"hits.{gate.name}"


def _expectations(gates: Sequence[RowGate], rows: int, min_rows: int) -> list[Any]:
    gxe: Any = importlib.import_module("great_expectations.expectations")
    suite: list[Any] = [
        gxe.ExpectTableRowCountToBeBetween(min_value=max(1, min_rows), severity="critical")
    ]
    for gate in gates:
        severity = "critical" if gate.critical else "warning"
        # 1 unless the policy's limit says otherwise; half a record against rounding.
        allowed = gate.params.max_records
        mostly = max(0.0, (rows - allowed - 0.5) / rows) if allowed else 1.0
        common: dict[str, Any] = {"severity": severity, "meta": {"gate": gate.name}}
        for rule in gate.rules:
            about = {**common, "notes": f"{gate.name}: {rule.detail}"}
            suite.append(
                gxe.ExpectColumnValuesToNotBeNull(column=rule.column, mostly=mostly, **about)
            )
            suite.append(
                gxe.ExpectColumnValuesToBeBetween(
                    column=rule.column, max_value=_as_stored(rule.above), mostly=mostly, **about
                )
            )
        suite.append(
            gxe.ExpectColumnValuesToBeBetween(
                column=_hits(gate), min_value=0, max_value=0, mostly=mostly, **common
            )
        )
    return suite


def _as_stored(limit: float) -> float:
    """The limit as the columns hold numbers: a share of 0.2 is a little more in float32."""
    return float(np.float32(limit))


def _validate(
    gates: Sequence[RowGate], frame: Any, min_rows: int, docs: Path | None
) -> tuple[list[Any], bool, Path | None]:
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    for name, site in dict(context.variables.data_docs_sites).items():
        with suppress(
            OSError
        ):  # the empty folder that GX makes for pages that nobody asked for
            Path(site["store_backend"]["base_directory"]).rmdir()
        context.delete_data_docs_site(name)
    batch = (
        context.data_sources.add_pandas("kept")
        .add_dataframe_asset("signals")
        .add_batch_definition_whole_dataframe("batch")
    )
    # In one go: a suite that the context knows is stored whole again with each that is added.
    suite = context.suites.add(
        gx.ExpectationSuite(
            name="data_gates", expectations=_expectations(gates, len(frame), min_rows)
        )
    )
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(name="data_gates", data=batch, suite=suite)
    )
    result = definition.run(batch_parameters={"dataframe": frame}, result_format=COUNTS_ONLY)
    if docs is not None:
        _write_docs(context, docs)
    return list(result.results), bool(result.success), docs


def _left(gate: RowGate, frame: Any, results: Sequence[Any], rows: int) -> Measurement | Broken:
    """How many kept records the suite counts as hits of a gate; Broken if anything is odd."""
    by_column = []
    for rule in gate.rules:
        null = _count(results, "expect_column_values_to_not_be_null", rule.column, rows)
        above = _count(results, "expect_column_values_to_be_between", rule.column, rows)
        if null is None or above is None:
            return _broken(gate, f"no result for the column {rule.column}")
        by_column.append(null + above)
    left = _count(results, "expect_column_values_to_be_between", _hits(gate), rows)
    if left is None:
        return _broken(gate, "no result for the gate as a whole")
    routed = int((frame[_hits(gate)] > 0).sum())
    if left != routed or not max(by_column) <= left <= sum(by_column):
        return _broken(gate, "Great Expectations and the router count differently")
    return Measurement(name=f"data.{gate.name}.left", value=float(left), n=rows)


def _count(results: Sequence[Any], kind: str, column: str, rows: int) -> int | None:
    """Unexpected records of the one expectation of a kind on a column; None if it broke."""
    found = [
        r
        for r in results
        if r.expectation_config.type == kind and r.expectation_config.kwargs["column"] == column
    ]
    if not found or any(r.exception_info.get("raised_exception") for r in found):
        return None
    # Two gates may share a column with different limits: each is asked about its own.
    counts = {(r.result.get("element_count"), r.result.get("unexpected_count")) for r in found}
    if any(elements != rows or count is None for elements, count in counts):
        return None
    return max(int(count) for _, count in counts)


SITE = "tidegate"
_REMOTE = re.compile(
    r"<script\b.*?</script>|<link\b[^>]*\bhref=[\"']https?://[^>]*>"
    r"|<img\b[^>]*\bsrc=[\"']https?://[^>]*>",
    re.IGNORECASE | re.DOTALL,
)
_REMOTE_URL = re.compile(r"url\([\"']?https?://[^)]*\)", re.IGNORECASE)
_STYLE = (
    "<style>body{font-family:sans-serif;margin:2rem;max-width:70rem}table{border-collapse:"
    "collapse}td,th{border:1px solid #bbb;padding:.3rem .6rem;text-align:left}"
    # What only does something with the scripts.
    ".modal,.navbar,.card,.ge-index-page-tabs-container,.cooltip .top,[data-toggle=collapse],"
    "footer,#ge-cta-footer{display:none}"
    # The icons come from a stranger's font.
    ".fa-check-circle::before{content:'\\2713  met'}.fa-times::before{content:'\\2717  not met'}"
    ".fa-exclamation-triangle::before{content:'! not asked'}.fas::before{font-style:normal}"
    "</style></head>"
)


def _write_docs(context: Any, docs: Path) -> None:
    if docs.exists():
        shutil.rmtree(docs)
    context.add_data_docs_site(
        SITE,
        {
            "class_name": "SiteBuilder",
            "show_how_to_buttons": False,
            "store_backend": {
                "class_name": "TupleFilesystemStoreBackend",
                "base_directory": str(docs.resolve()),
            },
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        },
    )
    context.build_data_docs(site_names=[SITE])
    for page in docs.rglob("*.html"):
        # Evidence that loads scripts from strangers' hosts when opened is no evidence, and
        # without those the page's own scripts do nothing.
        html = _REMOTE.sub("", page.read_text(encoding="utf-8"))
        html = _REMOTE_URL.sub("none", html)
        page.write_text(html.replace("</head>", _STYLE, 1), encoding="utf-8")
    _link_pages(docs)


def _link_pages(docs: Path) -> None:
    """The list of pages, which Great Expectations leaves to a script."""
    index = docs / "index.html"
    pages = sorted(p.relative_to(docs).as_posix() for p in docs.rglob("*.html") if p != index)
    listed = "".join(f'<li><a href="{quote(page)}">{escape(page)}</a></li>' for page in pages)
    html = index.read_text(encoding="utf-8")
    index.write_text(html.replace("</body>", f"<ul>{listed}</ul></body>", 1), encoding="utf-8")
