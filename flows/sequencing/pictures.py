"""Two pictures of a benchmark, as PNG: what was kept against what it cost, and retention."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tidegate.flows.reviewing.plots import INK, MARKERS, SERIES, png
from tidegate.flows.sequencing.result import ArmResult, Score
from tidegate.flows.sequencing.summarise import Row, summarise

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES = ("--", ":", "-.")


def tradeoff(results: Sequence[ArmResult], score: Score = "margin") -> bytes:
    """What was kept at the end against what it cost on text, an arm a point.

    Bars reach from the lowest to the highest sequence, where there is more than one. Intervals
    are in the table: of two sequences they are so long that beside them all points are one.
    """
    rows = summarise(results, score)
    trained = [row for row in rows if "kl" in row.measures]
    untrained = [row for row in rows if "kl" not in row.measures]

    def draw(figure: "Figure") -> None:
        axis = figure.subplots()
        for i, row in enumerate(trained):
            _point(axis, row, i)
        for i, row in enumerate(untrained):
            axis.axhline(row.measures["after"].mean, linestyle=LINES[i % len(LINES)],
                         color=INK, linewidth=1, label=f"{_named(row)}, untrained")  # fmt: skip
        bars = any(len(row.seeds) > 1 for row in trained)
        said = " (bars: lowest to highest sequence)" if bars else ""
        axis.set_title(f"After the last update{said}")
        axis.set_xlabel("KL to the origin on text, nats a token  (left is better)")
        axis.set_ylabel(f"{score} on all probes  (up is better)")
        axis.grid()
        figure.legend(loc="outside right center", fontsize=9)

    return png(draw, max(4.2, 0.4 + 0.21 * len(rows)))


def _point(axis: "Axes", row: Row, i: int) -> None:
    x, y = row.measures["kl"], row.measures["after"]
    drawn = look(i)
    if len(row.seeds) > 1:
        axis.hlines(y.mean, min(x.values), max(x.values), color=drawn["color"], linewidth=1.2)
        axis.vlines(x.mean, min(y.values), max(y.values), color=drawn["color"], linewidth=1.2)
    axis.plot(x.mean, y.mean, linestyle="", markersize=8, zorder=3, label=_named(row), **drawn)


def retention(results: Sequence[ArmResult], score: Score = "margin") -> bytes:
    """Each update's probes after each update, one panel an arm; mean over sequences.

    Without bars: in a panel of a few centimetres those of all updates would cover the lines.
    """
    arms: dict[str, list[ArmResult]] = {}
    for result in results:
        if result.kind == "sequential":
            arms.setdefault(result.arm, []).append(result)
    columns = min(3, max(1, len(arms)))
    rows = max(1, -(-len(arms) // columns))

    def draw(figure: "Figure") -> None:
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        panels = list(grid.flat)
        for axis, (arm, each) in zip(panels, arms.items(), strict=False):
            _retained(axis, each, score)
            axis.set_title(_counted(arm, len(each)), fontsize=9, fontweight="normal")
        for axis in panels[max(0, len(arms) - columns) : len(arms)]:  # the lowest of a column
            axis.tick_params(labelbottom=True)
        for axis in panels[len(arms) :]:
            axis.set_visible(False)
        figure.supxlabel(
            "updates learned (marked: when the probes' own was learned)", fontsize=10
        )
        figure.supylabel(f"mean {score}", fontsize=10)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, title="probes of", loc="outside upper center",
                      ncols=5, fontsize=9, title_fontsize=9)  # fmt: skip

    return png(draw, 1.0 + 2.0 * rows)


def _retained(axis: "Axes", each: Sequence[ArmResult], score: Score) -> None:
    updates = len(each[0].states[0].probes)
    for i in range(updates):
        points = [
            sum(one.states[t].probes[i].mean(score) for one in each) / len(each)
            for t in range(updates + 1)
        ]
        axis.plot(range(updates + 1), points, linewidth=1.6, markersize=6, markevery=[i + 1],
                  label=f"update {i + 1}", **look(i))  # fmt: skip
    axis.set_xticks(range(0, updates + 1, 1 + updates // 10))
    axis.grid(axis="y")


def look(i: int) -> dict[str, Any]:
    """Colour, marker, and whether it is filled. Six colours come back, and each time otherwise."""
    turn, place = divmod(i, len(SERIES))
    colour = SERIES[place]
    return {
        "color": colour,
        "marker": MARKERS[(place + turn) % len(MARKERS)],
        "markerfacecolor": "white" if turn % 2 else colour,
        "markeredgewidth": 1.6,
    }


def _named(row: Row) -> str:
    return _counted(row.arm, len(row.seeds))


def _counted(arm: str, sequences: int) -> str:
    return f"{arm} (n={sequences})"
