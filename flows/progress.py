"""Live progress in the terminal: one bar a stage, with its rate and what is left.

Stages report to whatever `showing()` is current. Where the output is not a terminal, one
line a stage is printed when it ends, so that a log stays readable.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from tidegate.gates.types import Progress, Report, ignore_progress

_report: ContextVar[Report] = ContextVar("report", default=ignore_progress)


def report(progress: Progress) -> None:
    """Tell whoever is watching how far a stage has come."""
    _report.get()(progress)


def stage(name: str) -> None:
    """Say that a stage has begun that has nothing to count."""
    report(Progress(name, 0, None, ""))


def named(progress: Report, stage: str) -> Report:
    """All that is reported, as one stage of this name."""
    return lambda now: progress(Progress(stage, now.done, now.total, now.unit))


def counted(progress: Report, stage: str) -> Report:
    """The same, for parts that each count from nothing, such as the suites of one model."""
    done: dict[str, int] = {}

    def report(now: Progress) -> None:
        done[now.stage] = now.done
        progress(Progress(stage, sum(done.values()), None, now.unit))

    return report


class _Shown:
    def __init__(self, bars: Bars, console: Console) -> None:
        self.bars, self.console = bars, console
        self.ids: dict[str, TaskID] = {}
        self.since: dict[str, float] = {}
        self.last: Progress | None = None

    def __call__(self, now: Progress) -> None:
        if now.stage not in self.ids:
            self._finish()
            self.ids[now.stage] = self.bars.add_task(now.stage, total=now.total, rate="")
            self.since[now.stage] = time.monotonic()
        seconds = max(time.monotonic() - self.since[now.stage], 1e-6)
        rate = f"{now.done:,} {now.unit} ({now.done / seconds:,.0f}/s)" if now.done else ""
        self.bars.update(self.ids[now.stage], total=now.total, completed=now.done, rate=rate)
        self.last = now

    def _finish(self) -> None:
        if self.last is None:
            return
        seconds = time.monotonic() - self.since[self.last.stage]
        self.bars.remove_task(self.ids.pop(self.last.stage))
        count = f"  {self.last.done:,} {self.last.unit}" if self.last.done else ""
        self.console.print(f"  [green]✓[/] {self.last.stage:<34}{seconds:7.1f} s{count}")
        self.last = None

    def close(self, failed: bool) -> None:
        if not failed:
            self._finish()


@contextmanager
def showing(console: Console) -> Iterator[None]:
    """Draw the stages reported inside the block on this console."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<34}"),
        BarColumn(bar_width=28),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(compact=True),
    )
    with Bars(*columns, console=console, transient=True) as bars:
        shown = _Shown(bars, console)
        token = _report.set(shown)
        try:
            yield
        except BaseException:
            shown.close(failed=True)
            raise
        else:
            shown.close(failed=False)
        finally:
            _report.reset(token)
