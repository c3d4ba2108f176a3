"""`make crash`: real commands, killed with SIGKILL at many points and run again until they end.

    python -m infra.crash --seed 1
    python -m infra.crash --only rollback --points 40 --part kills

Every home that was killed and finished is held against one that nobody disturbed: exit code,
decision, adapter, ledger, aliases, versions, tags, runs, files, rows. What was finished before
the kill may not be made again. Ends with 1 if anything differs; docs/operate.md has results.
"""

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from infra.crash import away, faults, scenarios, trial, warm
from infra.crash.scenarios import Scenario
from infra.crash.trial import Trial, Undisturbed
from infra.crash.warm import Warm

OUT = warm.ROOT / "test-output" / "crash.json"
FIRST = "first update"
SHORT = {FIRST: 7}  # kills, one after the other in one home
PARTS = ("kills", "faults", "server")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--points", type=int, help="in each scenario; else as scenarios.py says"
    )
    parser.add_argument("--only", action="append", help="these scenarios, by name")
    parser.add_argument("--part", action="append", choices=PARTS, help="else all")
    parser.add_argument(
        "--short",
        action="store_true",
        help="one home, killed seven times; the faults of one stage",
    )
    parser.add_argument("--keep", action="store_true", help="leave the homes where they are")
    given = parser.parse_args()
    folder = warm.scratch()
    began = time.monotonic()
    try:
        found = _all(folder, given)
    finally:
        if not given.keep:
            shutil.rmtree(folder, ignore_errors=True)
    spent = os.times()
    seconds = time.monotonic() - began
    print(_table(found))
    cores = (spent.children_user + spent.children_system) / 60
    print(f"{len(found)} trials, {seconds / 60:.1f} minutes, {cores:.1f} of one core")
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps([one._asdict() for one in found], indent=1))
    return 1 if any(one.wrong for one in found) else 0


def _all(folder: Path, given: argparse.Namespace) -> list[Trial]:
    os.environ["TIDEGATE_FLOOR"] = str(scenarios.floor())
    warm.prepare(folder)
    home, found = folder / "home", []
    with warm.engine(folder), warm.Warm(folder) as here:
        scenarios.prepare(here, folder, home)
        for scenario in _wanted(folder, given):
            whole = trial.undisturbed(here, scenario, folder, home)
            print(
                f"{scenario.name}: {len(whole.ran.points)} points, "
                f"{len({p[:3] for p in whole.ran.points})} places, "
                f"{whole.ran.seconds:.1f} s undisturbed",
                flush=True,
            )
            for one in _trials(here, scenario, whole, folder, home, given):
                found.append(one)
                _show(one)
    return found


def _trials(
    here: Warm,
    scenario: Scenario,
    whole: Undisturbed,
    folder: Path,
    home: Path,
    given: argparse.Namespace,
) -> Iterator[Trial]:
    parts = given.part or PARTS
    if "kills" in parts:
        if given.short:
            yield trial.chain(here, scenario, whole, folder, home, given.seed)
        else:
            yield from trial.trials(here, scenario, whole, folder, home, given.seed)
    if scenario.name == FIRST:
        if "faults" in parts:
            stages = ("train",) if given.short else ()
            yield from faults.faults(here, scenario, whole, folder, home, stages)
            yield faults.second(here, scenario, whole, folder, home)
        if "server" in parts:
            yield from away.away(here, scenario, folder, home)
            yield from away.engine_away(here, scenario, whole, folder, home)


def _wanted(folder: Path, given: argparse.Namespace) -> list[Scenario]:
    """The scenarios asked for; those that they begin from are run, and killed nowhere."""
    known = scenarios.scenarios(folder)
    names = set(SHORT if given.short else given.only or [one.name for one in known])
    if unknown := names - {one.name for one in known}:
        raise SystemExit(f"no scenario {', '.join(unknown)}; known: {[s.name for s in known]}")
    needed = {one.start for one in known if one.name in names}
    for one in reversed(known):
        if one.leaves in needed:
            needed.add(one.start)
    chosen = []
    for one in known:
        if one.name in names:
            points = SHORT[one.name] if given.short else given.points or one.points
            chosen.append(one._replace(points=points))
        elif one.leaves in needed:
            chosen.append(one._replace(points=0, moments=0))
    return chosen


def _show(one: Trial) -> None:
    mark = "ok  " if not one.wrong else "WRONG"
    print(f"  {mark} {one.kills} killed, {one.killed}", flush=True)
    for wrong in one.wrong:
        print(f"       {wrong}", flush=True)


def _table(found: list[Trial]) -> str:
    lines = [f"{'command':<18}{'homes':>7}{'kills':>7}{'stages':>8}{'wrong':>7}"]
    for name in dict.fromkeys(one.scenario for one in found):
        own = [one for one in found if one.scenario == name]
        kills = sum(one.kills for one in own)
        stages = len({one.stage for one in own if one.kills})
        wrong = sum(bool(one.wrong) for one in own)
        lines.append(f"{name:<18}{len(own):>7}{kills:>7}{stages:>8}{wrong:>7}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
