"""The day as a picture: arrivals, Prefect's runs, MLflow's stages, the ledger's acts, what served."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STATES = {"COMPLETED": "#4c8c4a", "FAILED": "#b04a3a", "CRASHED": "#7a1f1f"}
STAGES = {"check": "#5b7fb5", "train": "#d0913a", "measure": "#7d5ba6"}
ACTIONS = {"promote": "#4c8c4a", "hold": "#d0913a", "reject": "#b04a3a"}
BY_PEOPLE = ("approve", "refuse", "rollback", "forget", "erase", "repair")
LANES = ("people and disturbances", "decisions", "stages in MLflow", "runs in Prefect", "drops")


def draw(said: dict[str, Any], path: Path) -> None:
    """An SVG of the record (infra/day/record.py)."""
    import matplotlib

    matplotlib.use("agg")
    matplotlib.rcParams["svg.hashsalt"] = "a day"
    from matplotlib.figure import Figure

    zero = _stamp(said["arrived"][0]["at"])

    def minute(at: str | float) -> float:
        return (_stamp(at) - zero) / 60

    figure = Figure(figsize=(15, 7.5), layout="constrained")
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(5, 1.4))
    _drops(axes, said, minute)
    _runs(axes, said, minute)
    _acts(axes, said, minute)
    _serving(below, said, minute)
    axes.set_yticks(range(len(LANES)), LANES)
    axes.set_ylim(-0.8, len(LANES) - 0.3)
    below.set_xlabel("minutes since the first drop")
    _legend(axes)
    for one in (axes, below):
        one.spines[["top", "right"]].set_visible(False)
        one.grid(axis="x", alpha=0.25)
    figure.savefig(path, metadata={"Date": None})


def _drops(axes: "Axes", said: dict[str, Any], minute: Any) -> None:
    for n, one in enumerate(said["arrived"]):
        at, y = minute(one["at"]), LANES.index("drops")
        axes.plot(at, y - 0.25, marker="v", color="black", markersize=7)
        text = f"{one['drop']}\n{one['rows']:,} rows"
        axes.text(at, y + (0.25 if n % 2 else -0.02), text, fontsize=8, ha="center")


def _runs(axes: "Axes", said: dict[str, Any], minute: Any) -> None:
    y = LANES.index("runs in Prefect")
    for run in said["runs"]:
        if run["to"] is None:
            continue
        high = 0.28 if run["deployment"] == "update" else 0.12
        low = y if run["deployment"] == "update" else y - 0.3
        width = max(minute(run["to"]) - minute(run["from"]), 0.03)
        colour = STATES.get(run["state"], "grey")
        axes.broken_barh([(minute(run["from"]), width)], (low, high), color=colour)
    y = LANES.index("stages in MLflow")
    for one in said["stages"]:
        if one["to"] is None or one["stage"] not in STAGES:
            continue
        width = max(minute(one["to"]) - minute(one["from"]), 0.03)
        place = (y - 0.25 + 0.2 * list(STAGES).index(one["stage"]), 0.18)
        axes.broken_barh([(minute(one["from"]), width)], place, color=STAGES[one["stage"]])


def _acts(axes: "Axes", said: dict[str, Any], minute: Any) -> None:
    y, low = LANES.index("decisions"), LANES.index("people and disturbances")
    seen = 0
    for one in said["acts"]:
        at = minute(one["at"])
        if one["act"] == "decide":
            marker = "D" if one["again"] else "o"
            axes.plot(at, y, marker=marker, color=ACTIONS[one["action"]], markersize=9)
            axes.text(at, y + 0.18, f"v{one['version']}", fontsize=8, ha="center")
        elif one["act"] in BY_PEOPLE:
            axes.plot(at, low, marker="s", color="#333333", markersize=7)
            lift = (0.18, 0.36)[seen % 2]
            axes.text(at, low + lift, one["act"], fontsize=8, ha="center")
            seen += 1
    for n, one in enumerate(said["disturbed"]):
        width = max(minute(one["to"]) - minute(one["from"]), 0.05)
        axes.axvspan(
            minute(one["from"]), minute(one["from"]) + width, color="#b04a3a", alpha=0.3
        )
        axes.text(
            minute(one["from"]),
            low - 0.4 - 0.25 * (n % 2),
            one["what"],
            fontsize=8,
            ha="center",
            color="#7a1f1f",
        )


def _serving(axes: "Axes", said: dict[str, Any], minute: Any) -> None:
    times = [minute(one["from"]) for one in said["serving"]]
    versions = [int(one["version"]) for one in said["serving"]]
    end = max(minute(run["to"]) for run in said["runs"] if run["to"])
    axes.step([*times, end], [*versions, versions[-1]], where="post", color="black")
    axes.set_ylabel("version\nthat serves")


def _legend(axes: "Axes") -> None:
    from matplotlib.patches import Patch

    known = {**{f"run {k.lower()}": c for k, c in STATES.items()}, **STAGES}
    known |= {f"decided: {k}": c for k, c in ACTIONS.items()}
    shown = [Patch(color=colour, label=label) for label, colour in known.items()]
    axes.legend(
        handles=shown, ncols=9, fontsize=8, loc="lower center",
        bbox_to_anchor=(0.5, 1.0), frameon=False,
    )  # fmt: skip


def _stamp(at: str | float) -> float:
    if isinstance(at, str):
        return datetime.fromisoformat(at).timestamp()
    return at / 1000  # MLflow counts milliseconds
