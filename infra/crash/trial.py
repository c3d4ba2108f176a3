"""One trial: kill a command, run it again, and hold the home against an undisturbed one."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from infra.crash.points import Point
from infra.crash.scenarios import Scenario
from infra.crash.state import differences, finished_files, serves_undecided, state_of
from infra.crash.warm import KILLED, Ran, Warm, copied


class Undisturbed(NamedTuple):
    """What a command comes to in peace."""

    ran: Ran
    state: dict[str, Any]


class Trial(NamedTuple):
    """What one command came to after it was killed and run again."""

    scenario: str
    killed: str  # where, or after how many seconds
    stage: str
    kills: int  # that hit; it may end before one does
    wrong: list[str]


def undisturbed(
    warm: Warm,
    scenario: Scenario,
    folder: Path,
    home: Path,
    uri: str | None = None,
    *,
    begun: bool = False,
) -> Undisturbed:
    """Run it once in peace. Raises RuntimeError if that fails already."""
    if not begun:
        begin(scenario, folder, home)
    ran = warm.run(scenario.command, home)
    if ran.code not in (0, 1, 2):
        raise RuntimeError(f"{scenario.name} ended with {ran.code}: {ran.said[-2000:]}")
    state = warm.ask(lambda: state_of(home, uri))
    if wrong := _unsound(state):
        raise RuntimeError(f"{scenario.name}: wrong already without a kill: {wrong}")
    if scenario.leaves:
        copied(home, folder / "kept" / scenario.leaves)
    return Undisturbed(ran, state)


def trials(
    warm: Warm, scenario: Scenario, whole: Undisturbed, folder: Path, home: Path, seed: int
) -> Iterator[Trial]:
    """Each chosen point and moment, on a home of its own."""
    chance = random.Random(f"{seed} {scenario.name}")
    for point in chosen(whole.ran.points, scenario.points, chance):
        begin(scenario, folder, home)
        yield _trial(warm, scenario, whole, home, kills=[point])
    for _ in range(scenario.moments):
        begin(scenario, folder, home)
        yield _trial(warm, scenario, whole, home, after=chance.random() * whole.ran.seconds)


def chain(
    warm: Warm, scenario: Scenario, whole: Undisturbed, folder: Path, home: Path, seed: int
) -> Trial:
    """One home, killed at all chosen points one after the other, and finished in the end."""
    points = chosen(whole.ran.points, scenario.points, random.Random(seed))
    begin(scenario, folder, home)
    return _trial(warm, scenario, whole, home, kills=points)


def chosen(points: Sequence[Point], count: int, chance: random.Random) -> list[Point]:
    """So many points, in their order, taken in turns from the stages and at different places."""
    stages: dict[str, list[Point]] = {}
    places: dict[tuple[str, str, str], list[Point]] = {}
    for point in points:
        places.setdefault(point[:3], []).append(point)
    for same in places.values():
        stages.setdefault(same[0].stage, []).append(chance.choice(same))
    for found in stages.values():
        chance.shuffle(found)
    taken: list[Point] = []
    while len(taken) < count and any(stages.values()):
        for found in stages.values():
            if found and len(taken) < count:
                taken.append(found.pop())
    return sorted(taken, key=points.index)


def begin(scenario: Scenario, folder: Path, home: Path) -> None:
    """Put the home to where the scenario starts."""
    copied(folder / "kept" / scenario.start, home)
    if scenario.disturb is not None:
        scenario.disturb(home)


def _trial(
    warm: Warm,
    scenario: Scenario,
    whole: Undisturbed,
    home: Path,
    *,
    kills: Sequence[Point] = (),
    after: float | None = None,
) -> Trial:
    runs, wrong = [], []
    for kill in kills or [None]:
        ran = warm.run(scenario.command, home, at=kill, after=after)
        if ran.code != KILLED:
            continue
        runs.append(ran)
        undecided = serves_undecided(home)
        if undecided and scenario.disturb is None:
            wrong.append(f"version {undecided} serves, and no statement says that it may")
    before = finished_files(home)
    wrong += ended_as(warm.run(scenario.command, home), whole)
    now = finished_files(home)
    made = [name for name, file in before.items() if now.get(name, file) != file]
    if made and scenario.command[0] == "update":
        wrong.append(f"made again, though it was finished: {', '.join(made)}")
    wrong += compared(warm, whole, home)
    where = [str(kill) for kill in kills] or [f"after {after:.2f} s"]
    stage = runs[-1].points[-1].stage if runs and runs[-1].points else "start"
    return Trial(scenario.name, "; ".join(where), stage, len(runs), wrong)


def run_again(
    warm: Warm, command: list[str], whole: Undisturbed, home: Path, uri: str | None = None
) -> list[str]:
    """Once nothing is in its way any more: in what it differs from an undisturbed one."""
    return [*ended_as(warm.run(command, home), whole), *compared(warm, whole, home, uri)]


def ended_as(again: Ran, whole: Undisturbed) -> list[str]:
    if again.code == whole.ran.code:
        return []
    said = again.said.strip()[-300:]
    return [f"run again it ended with {again.code}, undisturbed with {whole.ran.code}: {said}"]


def compared(warm: Warm, whole: Undisturbed, home: Path, uri: str | None = None) -> list[str]:
    """What is unsound in the home, and how it differs from an undisturbed one."""
    state = warm.ask(lambda: state_of(home, uri))
    return [*_unsound(state), *differences(whole.state, state)]


def _unsound(state: dict[str, Any]) -> list[str]:
    return [
        f"{name}: {', '.join(state[name])}"
        for name in ("ledger verifies", "reconciled")
        if state[name]
    ]
