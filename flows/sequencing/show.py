"""A benchmark as one JSON document, as a table in Markdown, and as two pictures."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tidegate.evals.files import write_whole
from tidegate.flows.reviewing.plots import save
from tidegate.flows.sequencing.benchmark import Benchmark, Run
from tidegate.flows.sequencing.claims import CLAIMED, Claim, claims, cost_claims
from tidegate.flows.sequencing.pictures import retention, tradeoff
from tidegate.flows.sequencing.result import UNITS, Score
from tidegate.flows.sequencing.summarise import Row, Spread, summarise

SCORES: tuple[Score, ...] = ("margin", "loglik", "acc")
COLUMNS = {
    "learned": "learned",
    "after": "at the end",
    "implied": "implied",
    "forgetting": "forgetting",
    "backward": "BWT",
    "forward": "FWT",
    "kl": "KL on text",
    "nll": "text loss",
    "refusal": "refusal",
    "seconds": "s an update",
    "tokens": "tokens an update",
}
LARGE = {"seconds": 0, "tokens": 0}  # decimals; three for the rest


def write(benchmark: Benchmark, out: Path, arm: str = CLAIMED) -> str:
    """Write results.json, table.md and the pictures into `out`; returns the table.

    arm: of which the claims are made.
    """
    results = benchmark.results
    text = as_markdown(benchmark, arm)
    made: dict[str, tuple[Claim, ...]] = {s: claims(results, s, arm) for s in SCORES}
    made["cost"] = cost_claims(results, arm)
    document = {
        **benchmark.model_dump(mode="json"),
        "summary": {s: [r.model_dump(mode="json") for r in summarise(results, s)]
                    for s in SCORES},
        "claims": {name: [one.model_dump(mode="json") for one in each]
                   for name, each in made.items()},
    }  # fmt: skip
    write_whole(out / "results.json", _json(document))
    write_whole(out / "table.md", text.encode())
    if results:
        save({"tradeoff": tradeoff(results), "retention": retention(results)}, out)
    return text


def as_markdown(benchmark: Benchmark, arm: str = CLAIMED) -> str:
    """One table for each score, the claims about `arm`, and what failed."""
    results = benchmark.results
    parts = [*_measured_with(benchmark)]
    parts.append("Mean over sequences, and in brackets the 95 % interval of that mean.")
    if len({row.seeds for row in summarise(results, "margin")}) > 1:
        parts.append(
            "Arms on other sequences learned other facts, so their means do not compare; claims "
            "compare sequence by sequence."
        )
    for score in SCORES:
        parts.append(f"**{score}**: {UNITS[score]}")
        parts.append(_table(summarise(results, score)))
        parts += [_claim(one) for one in claims(results, score, arm)]
    if steady := cost_claims(results, arm):
        parts += ["**cost**", *(_claim(one) for one in steady)]
    parts += [f"Failed: {name}: {why}" for name, why in benchmark.failed.items()]
    return "\n\n".join(part for part in parts if part) + "\n"


def _measured_with(benchmark: Benchmark) -> list[str]:
    said = f"{benchmark.data} on {benchmark.base} ({benchmark.base_digest[:19]})"
    if not benchmark.joined:
        return [f"{said}, {_code(benchmark)}."]
    runs = [f"- {run.file}: {_code(run)}: {_seeds(run.seeds)}" for run in benchmark.joined]
    same = "the same code" if benchmark.code else "code that differs"
    return [f"{said}, {len(runs)} runs of {same}:", "\n".join(runs)]


def _code(measured: Benchmark | Run) -> str:
    return f"{(measured.revision or '')[:12]} ({(measured.code or '')[:19]})"


def _seeds(arms: dict[str, tuple[int, ...]]) -> str:
    return "; ".join(f"{arm}, seed {', '.join(map(str, s))}" for arm, s in arms.items())


def _table(rows: Sequence[Row]) -> str:
    shown = [name for name in COLUMNS if any(name in row.measures for row in rows)]
    lines = [
        "| arm | sequences | " + " | ".join(COLUMNS[name] for name in shown) + " |",
        "| --- " * (len(shown) + 2) + "|",
    ]
    for row in rows:
        cells = [_cell(row.measures.get(name), LARGE.get(name, 3)) for name in shown]
        lines.append(f"| {row.arm} | {len(row.seeds)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(found: Spread | None, decimals: int) -> str:
    if found is None:
        return "–"
    if found.low is None or found.high is None or decimals == 0:
        return f"{found.mean:,.{decimals}f}"
    return f"{found.mean:.{decimals}f} [{found.low:.{decimals}f}, {found.high:.{decimals}f}]"


def _claim(claim: Claim) -> str:
    if claim.at_least is None:
        limit = f"at most {claim.at_most:.3g}"
    else:
        limit = f"at least {claim.at_least:.3g}"
    return f"- {claim.claim}: {_cell(claim.ratio, 2)} ({limit}): {claim.answer}"


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=1, allow_nan=False).encode() + b"\n"
