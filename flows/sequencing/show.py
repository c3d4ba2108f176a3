"""A benchmark as one JSON document, as a table in Markdown, and as two pictures."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.evals.files import write_whole
from tidegate.flows.reviewing.plots import MARKERS, SERIES, png, save
from tidegate.flows.sequencing.result import UNITS, ArmResult, Score
from tidegate.flows.sequencing.summarise import Claim, Row, Spread, claims, summarise
from tidegate.gates.types import Digest, Noun

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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


class Benchmark(Noun):
    """All that was measured, and the digests of what it was measured with."""

    base: str
    base_digest: Digest
    data: str
    settings: dict[str, Any]
    recipes: dict[str, dict[str, Any]]
    code: Digest
    revision: str
    environment: Digest
    machine: dict[str, str]
    results: tuple[ArmResult, ...]
    failed: dict[str, str]


def write(benchmark: Benchmark, out: Path) -> str:
    """Write results.json, table.md and the pictures into `out`; returns the table."""
    text = as_markdown(benchmark)
    document = {
        **benchmark.model_dump(mode="json"),
        "summary": {s: [r.model_dump(mode="json") for r in summarise(benchmark.results, s)]
                    for s in SCORES},
        "claims": {s: [c.model_dump(mode="json") for c in claims(benchmark.results, s)]
                   for s in SCORES},
    }  # fmt: skip
    write_whole(out / "results.json", _json(document))
    write_whole(out / "table.md", text.encode())
    if benchmark.results:
        save(
            {
                "tradeoff": tradeoff(benchmark.results),
                "retention": retention(benchmark.results),
            },
            out,
        )
    return text


def as_markdown(benchmark: Benchmark) -> str:
    """One table for each score, the claims, and what failed."""
    base, code = benchmark.base_digest[:19], benchmark.code[:19]
    parts = [
        f"{benchmark.data} on {benchmark.base} ({base}), {benchmark.revision[:12]} ({code}).",
        "Mean over sequences, and in brackets the 95 % interval of that mean.",
    ]
    for score in SCORES:
        parts.append(f"**{score}**: {UNITS[score]}")
        parts.append(_table(summarise(benchmark.results, score)))
        parts += [_claim(one) for one in claims(benchmark.results, score)]
    parts += [f"Failed: {arm}: {why}" for arm, why in benchmark.failed.items()]
    return "\n\n".join(part for part in parts if part) + "\n"


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
        limit = f"at most {claim.at_most}"
    else:
        limit = f"at least {claim.at_least}"
    return f"- {claim.claim}: {_cell(claim.ratio, 2)} ({limit}): {claim.answer}"


def tradeoff(results: Sequence[ArmResult], score: Score = "margin") -> bytes:
    """What was kept at the end against what it cost on text, an arm a point."""
    rows = [row for row in summarise(results, score) if "kl" in row.measures]

    def draw(figure: "Figure") -> None:
        axis = figure.subplots()
        for i, row in enumerate(rows):
            x, y = row.measures["kl"], row.measures["after"]
            colour, marker = SERIES[i % len(SERIES)], MARKERS[i // len(SERIES) % len(MARKERS)]
            axis.plot(x.values, y.values, marker, color=colour, alpha=0.35, markersize=5)
            axis.plot(x.mean, y.mean, marker, color=colour, markersize=9, label=row.arm)
        for row in summarise(results, score):
            if "kl" not in row.measures:
                axis.axhline(row.measures["after"].mean, linestyle="--", color="#9aa1a9",
                             label=f"{row.arm} (nothing trained)")  # fmt: skip
        axis.set_title("After the last update (small: single sequences)")
        axis.set_xlabel("KL to the origin on text, nats a token  (left is better)")
        axis.set_ylabel(f"{score} on all probes  (up is better)")
        axis.grid()
        figure.legend(loc="outside right center")

    return png(draw, 4.2)


def retention(results: Sequence[ArmResult], score: Score = "margin") -> bytes:
    """Each update's probes after each update, one panel an arm; mean over sequences."""
    arms: dict[str, list[ArmResult]] = {}
    for result in results:
        if result.kind == "sequential":
            arms.setdefault(result.arm, []).append(result)
    columns = min(3, max(1, len(arms)))
    rows = max(1, -(-len(arms) // columns))

    def draw(figure: "Figure") -> None:
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat
        for axis, (arm, each) in zip(panels, arms.items(), strict=False):
            _retained(axis, each, score)
            axis.set_title(arm)
        for axis in list(panels)[len(arms) :]:
            axis.set_visible(False)
        figure.supxlabel("updates learned", fontsize=10)
        figure.supylabel(score, fontsize=10)

    return png(draw, 0.6 + 2.2 * rows)


def _retained(axis: "Axes", each: Sequence[ArmResult], score: Score) -> None:
    updates = len(each[0].states[0].probes)
    for i in range(updates):
        points = [
            sum(one.states[t].probes[i].mean(score) for one in each) / len(each)
            for t in range(updates + 1)
        ]
        colour = SERIES[i % len(SERIES)]
        axis.plot(range(updates + 1), points, color=colour, linewidth=1.8)
        axis.plot(i + 1, points[i + 1], MARKERS[i % len(MARKERS)], color=colour)
    axis.set_xticks(range(updates + 1))
    axis.grid(axis="y")


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=1, allow_nan=False).encode() + b"\n"
