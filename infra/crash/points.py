"""Where a process can be disturbed: before and after every step by which it changes its home.

Python audits each file that is opened for writing, renamed, linked, removed or cut, and each
folder that is made (PEP 578); os.fsync and MLflow's commits are wrapped, because it audits
neither. Nothing of the product is changed for it. Files that native code writes (weights, in
safetensors) are not seen here: the kills by the clock are for those.
"""

import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
PATHS = {  # audit event: which of its arguments is the path that changes
    "open": 0,
    "os.rename": 1,
    "os.link": 1,
    "os.remove": 0,
    "os.mkdir": 0,
    "os.rmdir": 0,
    "os.truncate": 0,
}
OURS = ("flows/", "gates/", "training/", "evals/")
STAGES = {  # functions of flows/update.py
    "opened": "open the line",
    "ingested": "ingest",
    "update_id": "begin",
    "begin": "begin",
    "remember": "begin",
    "data_checked": "check",
    "replayed": "replay",
    "candidate_trained": "train",
    "log_training": "train",
    "candidate_measured": "measure",
    "log_measured": "measure",
    "decided": "decide",
    "published": "record and publish",
}


class Point(NamedTuple):
    """The `count`-th time that a process came to this place: so that it is found again."""

    stage: str
    step: str  # what is about to happen, or has just happened
    place: str  # file and function of ours
    count: int

    def __str__(self) -> str:
        return f"{self.stage}: {self.step} in {self.place} ({self.count})"


class Watch:
    """Notes every point that this process comes to, and does something at one of them."""

    def __init__(
        self, home: Path, log: int, stage: str, at: Point | None, act: Callable[[], object]
    ) -> None:
        """log: a pipe, which no limit on files can close."""
        self.home, self.log, self.stage, self.at, self.act = str(home), log, stage, at, act
        self.seen: Counter[tuple[str, str, str]] = Counter()
        self.lock = threading.Lock()  # files are stored by several threads

    def install(self) -> None:
        """For good: an audit hook cannot be taken away, so do it in a child."""
        from sqlalchemy.engine.default import DefaultDialect

        dialect: Any = DefaultDialect
        os.fsync = self._around(os.fsync, "fsync", lambda *_: True)
        dialect.do_commit = self._around(
            dialect.do_commit, "commit", lambda _, connection: connection.in_transaction
        )
        sys.addaudithook(self._audited)

    def _around(
        self, act: Callable[..., Any], name: str, changes: Callable[..., bool]
    ) -> Callable[..., Any]:
        def acted(*given: Any) -> None:
            counts = changes(*given)
            if counts:
                self._reached(f"before {name}")
            act(*given)
            if counts:
                self._reached(f"after {name}")

        return acted

    def _audited(self, event: str, given: tuple[Any, ...]) -> None:
        at = PATHS.get(event)
        if at is None:
            return
        if event == "open" and not (isinstance(given[2], int) and given[2] & WRITES):
            return
        path = given[at]
        if not isinstance(path, str | bytes | os.PathLike):
            return
        if os.fsdecode(path).startswith(self.home):
            self._reached(f"before {event.removeprefix('os.')}")

    def _reached(self, step: str) -> None:
        stage, place = _where(sys._getframe(2), self.stage)
        with self.lock:
            self.stage = stage
            self.seen[stage, step, place] += 1
            point = Point(stage, step, place, self.seen[stage, step, place])
            os.write(self.log, ("\t".join(map(str, point)) + "\n").encode())
        if point == self.at:
            self.act()


def kill() -> None:
    """The whole group, as the kernel does it when memory runs out."""
    os.killpg(0, signal.SIGKILL)


def read_points(log: bytes) -> list[Point]:
    # A line that was cut off is of a process that was killed by the clock.
    split = [line.split("\t") for line in log.decode().split("\n")[:-1]]
    return [Point(stage, step, place, int(count)) for stage, step, place, count in split]


def _where(frame: FrameType | None, stage: str) -> tuple[str, str]:
    """Stage and place by the stack; a thread without ours goes with the stage before."""
    place = ""
    while frame is not None:
        name, _, ours = frame.f_code.co_filename.rpartition("/tidegate/")
        if name and ours.startswith(OURS):
            place = place or f"{ours}:{frame.f_code.co_name}"
            if frame.f_code.co_name in STAGES and ours in _STAGE_FILES:
                return STAGES[frame.f_code.co_name], place
        frame = frame.f_back
    return stage, place or "a thread of MLflow"


_STAGE_FILES = {
    "flows/update.py",
    "flows/one_update.py",
    "flows/same_update.py",
    "flows/asked.py",
    "flows/reviewing/present.py",
}
