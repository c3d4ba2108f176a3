"""What goes wrong around a process that lives on: disk, memory, store, clock.

Each fault begins at a point, between two steps, and lasts as long as the process. It has to end
with exit code 3 or 4 and one line that says what would do; nothing may serve that was not
decided; and the same command, once the fault is over, has to come to what it comes to in peace.
Two faults are got over otherwise: a clock that jumps changes nothing at all, and a process that
the kernel ends for want of memory says nothing.
"""

import ctypes
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from infra.crash.points import Point
from infra.crash.scenarios import Scenario
from infra.crash.state import serves_undecided
from infra.crash.trial import Trial, Undisturbed, begin, compared, run_again
from infra.crash.warm import KILLED, Warm

CAPABILITIES_3 = 0x20080522  # linux/capability.h
OVERRIDES = 0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
ROOM = 8 << 20  # bytes that are left where memory runs out
V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


class Fault(NamedTuple):
    """Something that begins in a stage, at the first point there whose place has this in it."""

    name: str
    stage: str
    place: str
    begin: Callable[[Path], None]
    says: str = ""  # part of the message
    ends: Callable[[Path], None] = lambda home: None
    codes: tuple[int, ...] = (3, 4)  # it ends with; none: with what it ends with in peace


def full_disk(home: Path) -> None:
    """No file may grow any more: each write fails (EFBIG, as ENOSPC would)."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


def no_memory(home: Path) -> None:
    """No more than what it has now, and a little."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def read_only_store(home: Path) -> None:
    """MLflow's files cannot be written. Root gives up what lets it write all the same."""
    for folder in [home / "mlartifacts", *(home / "mlartifacts").rglob("*")]:
        if folder.is_dir():
            folder.chmod(0o555)
    if os.geteuid() == 0:
        _without_overrides()


def writable_again(home: Path) -> None:
    for folder in [home / "mlartifacts", *(home / "mlartifacts").rglob("*")]:
        if folder.is_dir():
            folder.chmod(0o755)


def ended_by_the_kernel(home: Path) -> None:
    """A memory cgroup that has no room for what the process will need next."""
    group = _group(home)
    group.mkdir()
    limit = "memory.limit_in_bytes" if V1.exists() else "memory.max"
    (group / limit).write_text(str(ROOM // 4))
    (group / "cgroup.procs").write_text(str(os.getpid()))


def no_group(home: Path) -> None:
    _group(home).rmdir()


def _group(home: Path) -> Path:
    return (V1 if V1.exists() else V2) / home.parent.name


def jump(by: timedelta) -> Callable[[Path], None]:
    """The clock of the day is set, as by a machine that wakes or asks a wrong server."""

    def begin(home: Path) -> None:
        import time_machine

        time_machine.travel(datetime.now(UTC) + by, tick=True).start()

    return begin


FAULTS = (
    Fault("disk full", "ingest", "", full_disk, "space|ulimit|limit on the size"),
    Fault("disk full", "check", "", full_disk, "large|space|ulimit"),
    Fault("disk full", "train", "training/", full_disk, "large|space|ulimit"),
    Fault("disk full", "measure", "", full_disk, "large|space|ulimit"),
    Fault("disk full", "record and publish", "", full_disk, "large|space|full|I/O"),
    Fault("memory full", "train", "training/", no_memory, "memory"),
    Fault(
        "ended by the kernel",
        "train",
        "training/",
        ended_by_the_kernel,
        "",
        no_group,
        (KILLED,),
    ),
    Fault("clock back a day", "train", "", jump(timedelta(days=-1)), codes=()),
    Fault("clock back an hour", "record and publish", "", jump(timedelta(hours=-1)), codes=()),
    Fault("clock on by a year", "measure", "", jump(timedelta(days=365)), codes=()),
    Fault("store read-only", "train", "", read_only_store, "ermission", writable_again),
    Fault(
        "store read-only",
        "record and publish",
        "",
        read_only_store,
        "ermission",
        writable_again,
    ),
)


def faults(
    warm: Warm,
    scenario: Scenario,
    whole: Undisturbed,
    folder: Path,
    home: Path,
    stages: Sequence[str] = (),
) -> Iterator[Trial]:
    """Each fault, or those of some stages, on a home of its own; the command again after it."""
    for fault in FAULTS:
        if not stages or fault.stage in stages:
            yield _faulty(warm, scenario, whole, folder, home, fault)


def second(
    warm: Warm, scenario: Scenario, whole: Undisturbed, folder: Path, home: Path
) -> Trial:
    """While it trains, the same command is started beside it: refused, and nothing is disturbed."""
    begin(scenario, folder, home)
    out = folder / "second"
    at = _first(whole.ran.points, "train", "training/")
    ran = warm.run(scenario.command, home, at=at, act=lambda: _beside(scenario, home, out))
    code, _, said = out.read_text().partition("\n")
    wrong = []
    if code != "3" or "is running" not in said:
        wrong.append(f"the second one ended with {code}: {said.strip()[-300:]}")
    if ran.code != whole.ran.code:
        wrong.append(f"the first one ended with {ran.code}: {ran.said.strip()[-300:]}")
    wrong += compared(warm, whole, home)
    return Trial(scenario.name, f"a second one beside it, {at}", at.stage, 0, wrong)


def _faulty(
    warm: Warm, scenario: Scenario, whole: Undisturbed, folder: Path, home: Path, fault: Fault
) -> Trial:
    begin(scenario, folder, home)
    at = _first(whole.ran.points, fault.stage, fault.place)
    ran = warm.run(scenario.command, home, at=at, act=lambda: fault.begin(home))
    wrong = []
    codes = fault.codes or (whole.ran.code,)
    if ran.code not in codes or "Traceback" in ran.said or not re.search(fault.says, ran.said):
        wrong.append(f"it ended with {ran.code}: {ran.said.strip()[-600:]}")
    if undecided := serves_undecided(home):
        wrong.append(f"version {undecided} serves, and no statement says that it may")
    fault.ends(home)
    wrong += run_again(warm, scenario.command, whole, home)
    return Trial(scenario.name, f"{fault.name}, {at}", at.stage, 0, wrong)


def _first(points: list[Point], stage: str, place: str) -> Point:
    return next(p for p in points if p.stage == stage and p.place.startswith(place))


def _beside(scenario: Scenario, home: Path, out: Path) -> None:
    command = [sys.executable, "-m", "tidegate.flows.cli", *scenario.command]
    done = subprocess.run(
        [*command, "--home", str(home)], capture_output=True, text=True, check=False
    )
    out.write_text(f"{done.returncode}\n{done.stdout}{done.stderr}")


def _without_overrides() -> None:
    """Root as any user, as far as permissions of files go (capset(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(CAPABILITIES_3, 0)
    data = (ctypes.c_uint32 * 6)()
    if libc.capget(header, data) == 0:
        data[0] &= ~OVERRIDES
        if libc.capset(header, data) == 0:
            return
    raise OSError(ctypes.get_errno(), "capset")
