"""The four pictures of an update, as PNG: changes, losses, drift, and what the data gates did.

Drawn without a screen and closed again. Colours are Okabe & Ito's (2008), which people with
any common colour blindness can tell apart; what matters is also said by shape or position.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.flows.reviewing.comparisons import Comparison, DriftPoint
from tidegate.flows.reviewing.wording import clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, INK, FAINT = "#CC79A7", "#56B4E9", "#22262b", "#9aa1a9"
SERIES = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED)
MARKERS = ("o", "s", "^", "D", "v", "P")
ROLE = {"champion": (BLUE, "o"), "anchor": (ORANGE, "s")}
WIDTH, DPI = 7.0, 100  # inches: 700 pixels; MLflow's page cuts off what is wider at 1280
LIMIT = "policy's limit"
UNITS = {
    "margin": "log-probability margin, nats a token",
    "answer_nll": "answer likelihood, nats a token",
    "nll": "text likelihood, nats a token",
    "acc": "share of items answered right",
}
STYLE: Any = {
    "font.size": 10,
    "font.family": "DejaVu Sans",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": "#e6e8eb",
    "axes.axisbelow": True,
    "legend.frameon": False,
    # Names of slices and gates are data; a dollar sign in one is no formula.
    "text.parse_math": False,
}


def changes(comparisons: Sequence[Comparison]) -> bytes:
    """A forest plot: mean change with its bounds, and the policy's limit, panel by unit."""
    panels: dict[tuple[bool, str], list[Comparison]] = {}
    for found in comparisons:
        panels.setdefault((found.suite == "update", found.metric), []).append(found)
    heights = [len({c.suite for c in panel}) for panel in panels.values()]

    def draw(figure: "Figure") -> None:
        ratios = [height + 0.9 for height in heights]
        axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=ratios)[:, 0]
        titled: set[str] = set()
        for axis, ((learnt, metric), panel) in zip(axes, panels.items(), strict=True):
            _forest(axis, panel)
            title = "What it was to learn" if learnt else "What it could do before"
            if title not in titled:
                axis.set_title(title)
                titled.add(title)
            axis.set_xlabel(f"change in {UNITS.get(metric, metric)}  (right is better)")
        shown = {
            label: handle
            for axis in axes
            for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        names = sorted(shown, key=lambda name: (name == LIMIT, name != "against the champion"))
        figure.legend([shown[n] for n in names], names, loc="outside upper right", ncols=3)

    return png(draw, 0.9 + sum(0.62 * height + 0.95 for height in heights))


def _forest(axis: "Axes", panel: Sequence[Comparison]) -> None:
    suites = list(dict.fromkeys(c.suite for c in panel))
    axis.axvline(0, color=INK, linewidth=0.8)
    for found in panel:
        colour, marker = ROLE[found.than]
        y = suites.index(found.suite) + (-0.17 if found.than == "champion" else 0.17)
        # A suite that stopped early may know one end alone; a bare dot would look certain.
        ends = [end for end in (found.low, found.mean, found.high) if end is not None]
        axis.hlines(y, min(ends), max(ends), color=colour, linewidth=2.2, alpha=0.85)
        axis.plot(
            found.mean, y, marker, color=colour, markersize=7, label=f"against the {found.than}"
        )
        if found.limit is not None:
            axis.vlines(
                found.limit,
                y - 0.15,
                y + 0.15,
                color=RED,
                linewidth=2.4,
                label=LIMIT,
            )
    axis.set_yticks(range(len(suites)), [_short(s) for s in suites])
    axis.set_ylim(len(suites) - 0.5, -0.5)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x")
    axis.margins(x=0.06)


def losses(history: Mapping[str, Sequence[tuple[int, float]]]) -> bytes:
    """Each term's loss by step, smoothed, with the raw values faintly behind."""

    def draw(figure: "Figure") -> None:
        axis = figure.subplots()
        for i, (term, points) in enumerate(history.items()):
            colour = SERIES[i % len(SERIES)]
            steps, values = [step for step, _ in points], [value for _, value in points]
            line = _smooth(values)
            axis.plot(steps, values, color=colour, alpha=0.25, linewidth=1)
            axis.plot(
                steps,
                line,
                color=colour,
                linewidth=2,
                marker=MARKERS[i % len(MARKERS)],
                markevery=[len(line) - 1],
                label=_short(term),
            )
        axis.set_title("Loss while training")
        axis.set_xlabel("optimiser step")
        axis.set_ylabel("nats a learned token")
        axis.grid(axis="y")
        axis.set_ylim(bottom=min(0.0, axis.get_ylim()[0]))
        figure.legend(loc="outside upper right", ncols=max(1, len(history)))

    return png(draw, 3.4)


def _smooth(values: Sequence[float], weight: float = 0.6) -> list[float]:
    """Exponential moving average, free of the bias towards the first value."""
    smooth, seen, out = 0.0, 0.0, []
    for value in values:
        smooth, seen = weight * smooth + (1 - weight) * value, weight * seen + (1 - weight)
        out.append(smooth / seen)
    return out


def drift(points: Sequence[DriftPoint], limits: Mapping[str, float]) -> bytes:
    """How far each version is from the anchor, suite by suite, and the anchor's limits."""
    versions = sorted({p.version for p in points}, key=int)
    names = list(dict.fromkeys(p.name for p in points))
    columns = min(3, len(names))
    rows = -(-len(names) // columns)

    def draw(figure: "Figure") -> None:
        axes = figure.subplots(rows, columns, squeeze=False, sharex=True).flat
        for axis, name in zip(axes, names, strict=False):
            found = [p for p in points if p.name == name]
            x = [versions.index(p.version) for p in found]
            axis.axhline(0, color=INK, linewidth=0.8)
            if name in limits:
                axis.axhline(limits[name], color=RED, linewidth=1.8, linestyle=(0, (4, 2)))
            axis.fill_between(
                x, [p.low for p in found], [p.high for p in found], color=BLUE, alpha=0.15
            )
            axis.vlines(
                x, [p.low for p in found], [p.high for p in found], color=BLUE, alpha=0.5
            )
            axis.plot(x, [p.mean for p in found], "o-", color=BLUE, markersize=5)
            axis.set_title(_short(name), fontsize=9)
            axis.set_xticks(range(len(versions)), [f"v{v}" for v in versions])
            axis.set_xlim(-0.5, len(versions) - 0.5)
            axis.grid(axis="y")
        for axis in list(axes)[len(names) :]:
            axis.set_visible(False)
        figure.suptitle(
            "Distance from the anchor, version by version (dashed: the policy's limit)",
            x=0.01,
            ha="left",
            fontsize=11,
            fontweight="bold",
        )

    return png(draw, 0.7 + 2.0 * rows)


def data(kept: int, masked: int, quarantined: Mapping[str, int]) -> bytes:
    """How many rows were kept, masked, and quarantined by which gate."""
    rows = [("kept as they came", kept - masked, GREEN), ("kept, masked", masked, SKY)]
    rows += [(_short(gate), count, ORANGE) for gate, count in quarantined.items()]
    rows = [row for row in rows if row[1] or row[2] is GREEN]

    def draw(figure: "Figure") -> None:
        axis = figure.subplots()
        values = [value for _, value, _ in rows]
        bars = axis.barh(range(len(rows)), values, color=[c for *_, c in rows], height=0.62)
        # Kept rows are usually a hundred times the rest; a logarithm shows both.
        if max(values) > 50:
            axis.set_xscale("symlog", linthresh=10)
            axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axis.bar_label(bars, [f" {value:,}" for value in values], padding=2)
        axis.set_yticks(range(len(rows)), [name for name, *_ in rows])
        axis.invert_yaxis()
        axis.tick_params(axis="y", length=0)
        axis.set_title("What the data gates did (orange: quarantined by the gate)")
        axis.set_xlabel("rows" + (", logarithmic" if max(values) > 50 else ""))
        axis.margins(x=0.1)
        axis.grid(axis="x")

    return png(draw, 1.1 + 0.38 * len(rows))


def save(pictures: Mapping[str, bytes], folder: Path) -> list[Path]:
    """Write each picture as `folder/NAME.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, content in pictures.items():
        path = folder / f"{name}.png"
        path.write_bytes(content)
        paths.append(path)
    return paths


def _short(name: str) -> str:
    return clean(name, 34)


def png(draw: Callable[["Figure"], Any], height: float) -> bytes:
    """A picture of WIDTH x height inches. The same numbers give the same bytes."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Figure without pyplot: no global list of open figures, no screen, nothing to close.
    # A letter that the font lacks is drawn as a box; nobody needs a warning about it.
    with matplotlib.rc_context(STYLE), warnings.catch_warnings(action="ignore"):
        figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        out = BytesIO()
        figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()
