"""A calibration, as a person reads it in the terminal."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tidegate.flows.calibrating.run import Calibrated
from tidegate.gates.policy.calibration import Calibration, Rate


def show_calibrated(console: Console, result: Calibrated) -> None:
    """What was trained, how often the stage erred, and what each gate can see."""
    c = result.calibration
    console.print()
    console.print(
        f"{c.seeds + 1} twins learned {c.rows} rows in {result.epochs} epochs by the recipe "
        f"{escape(result.recipe)}; only the seed differs. {c.seeds} pairs were judged by "
        f"{escape(c.policy)}, each on all items.",
        highlight=False,
    )
    console.print()
    console.print(_gates(c))
    console.print()
    console.print(
        "noise: largest mean change where there is nothing to find. sd: spread of the changes "
        "of single items between two twins, and by an ordinary update. sees: smallest mean "
        f"regression told from none, with power {c.power:.0%} at a false-pass rate of "
        f"{c.false_pass_rate:.0%}.",
        style="dim",
        highlight=False,
    )
    console.print()
    console.print(_stage(c))
    console.print()
    if c.left_out:
        console.print(f"not calibrated: {escape(', '.join(c.left_out))}", highlight=False)
    steps = ", ".join(f"{step} {seconds:.0f} s" for step, seconds in result.seconds.items())
    console.print(f"{steps}: {_minutes(result):.0f} minutes in all", highlight=False)
    console.print(f"written to {result.path}", soft_wrap=True, highlight=False)


def _gates(c: Calibration) -> Table:
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="dim")
    table.add_column("gate", overflow="fold")
    for column in ("items", "pass", "unsure", "fail", "noise", "sd twin", "sd update", "sees"):
        table.add_column(column, justify="right")
    for title, gate in c.gates.items():
        table.add_row(
            escape(title),
            str(gate.n),
            str(gate.passes),
            str(gate.inconclusive),
            f"[red]{gate.fails}[/]" if gate.fails else "0",
            f"{gate.noise_floor:.4f}",
            f"{gate.sd_twin:.3f}",
            f"{gate.sd_update:.3f}",
            f"{gate.smallest_detectable:.4f}",
        )
    return table


def _stage(c: Calibration) -> Table:
    colour = "red" if c.blocked.share > c.false_block_rate else "green"
    table = Table.grid(padding=(0, 2))
    table.add_row(
        "blocked by chance",
        f"[{colour}]{_hits(c.blocked)}[/]",
        f"{_interval(c.blocked)}; the policy allows {c.false_block_rate:.0%}",
    )
    table.add_row("not passed by chance", _hits(c.not_passed), _interval(c.not_passed))
    table.add_row(
        "noise of measuring",
        f"{c.repeat_noise:.3g}",
        f"largest mean change of one model measured {c.repeats + 1} times",
    )
    return table


def _hits(rate: Rate) -> str:
    return f"{rate.hits} of {rate.n} ({rate.share:.0%})"


def _interval(rate: Rate) -> str:
    return f"95 % interval {rate.low:.1%} to {rate.high:.1%}"


def _minutes(result: Calibrated) -> float:
    twins = result.calibration.seeds + 1
    of_twins = ("train a twin", "measure a twin")
    return (
        sum(s * (twins if step in of_twins else 1) for step, s in result.seconds.items()) / 60
    )
