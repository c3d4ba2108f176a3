"""The results of several runs in one: other arms, other seeds, and all else the same.

Runs that differ in what decides a number are refused: base, data, settings, machine, the
recipe of an arm that both have, what the origin answers to the same seed, and any number of a
sequence that both measured. Seconds alone may differ between two measurements of the same;
those of the file that is named first are kept.

Cannot see: whether training changed between two runs that share no arm and seed. Their code
may differ, which the joined document says.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tidegate.flows.sequencing.benchmark import Benchmark, Run
from tidegate.flows.sequencing.result import ArmResult
from tidegate.flows.usage import UsageError
from tidegate.gates.digest import digest_file

COMPUTED = ("summary", "claims")  # from the rest, each time that it is written
OWN = ("first", "seeds")  # settings that every run may have its own of


def join(paths: Sequence[Path]) -> Benchmark:
    """One benchmark of all files; of a single one, that one.

    Raises UsageError that names the file that is no result, or the two that do not go together
    and what differs.
    """
    if not paths:
        raise UsageError("there is no file to join")
    read = [(str(path), _read(path)) for path in paths]
    if len(read) == 1:
        return read[0][1]
    for at, one in enumerate(read):
        for other in read[at + 1 :]:
            _same_settings(one, other)
    first = read[0][1]
    every = [benchmark for _, benchmark in read]
    return Benchmark(
        base=first.base,
        base_digest=first.base_digest,
        data=first.data,
        settings={name: v for name, v in first.settings.items() if name not in OWN},
        recipes={arm: recipe for one in every for arm, recipe in one.recipes.items()},
        code=_shared([one.code for one in every]),
        revision=_shared([one.revision for one in every]),
        environment=_shared([one.environment for one in every]),
        machine=first.machine,
        results=_results(read),
        failed={f"{name}: {arm}": why for name, one in read for arm, why in one.failed.items()},
        joined=tuple(
            run for path, one in zip(paths, every, strict=True) for run in _runs(path, one)
        ),
    )


def _read(path: Path) -> Benchmark:
    try:
        document = json.loads(path.read_bytes())
        if not isinstance(document, dict):
            raise TypeError("not an object")
        measured = {name: v for name, v in document.items() if name not in COMPUTED}
        return Benchmark.model_validate_json(json.dumps(measured))
    except (OSError, TypeError, ValueError) as broken:
        why = " ".join(str(broken).split())[:300]
        raise UsageError(f"{path}: is no results.json of a benchmark: {why}") from None


def _same_settings(one: tuple[str, Benchmark], other: tuple[str, Benchmark]) -> None:
    (a, first), (b, second) = one, other
    arms = set(first.recipes) & set(second.recipes)
    mine, theirs = _decides(first, arms), _decides(second, arms)
    for name in dict.fromkeys([*mine, *theirs]):
        if mine.get(name) != theirs.get(name):
            raise UsageError(
                f"{a} and {b}: {name} is {_said(mine, name)} and {_said(theirs, name)}; "
                "only runs of the same settings can be joined"
            )


def _decides(benchmark: Benchmark, arms: set[str]) -> dict[str, Any]:
    """What decides the numbers of a run, by the names that it is recorded under."""
    recipes = {
        f"recipes.{arm}.{name}": value
        for arm in sorted(arms)
        for name, value in benchmark.recipes[arm].items()
    }
    settings = {name: v for name, v in benchmark.settings.items() if name not in OWN}
    machine = {f"machine.{name}": value for name, value in benchmark.machine.items()}
    return {
        "base": benchmark.base,
        "base_digest": benchmark.base_digest,
        "data": benchmark.data,
        **settings,
        **machine,
        **recipes,
    }


def _said(settings: dict[str, Any], name: str) -> str:
    return repr(settings[name]) if name in settings else "not given"


def _results(read: Sequence[tuple[str, Benchmark]]) -> tuple[ArmResult, ...]:
    """Every pair of arm and seed once. Raises UsageError for one that was measured otherwise."""
    kept: dict[tuple[str, int], tuple[str, ArmResult]] = {}
    origins: dict[int, tuple[str, ArmResult]] = {}
    for name, benchmark in read:
        for result in benchmark.results:
            at, known = origins.setdefault(result.seed, (name, result))
            if (known.data, known.origin) != (result.data, result.origin):
                raise UsageError(
                    f"{at} and {name}: seed {result.seed} has other facts, or the untrained "
                    "base answers them otherwise; only runs of the same can be joined"
                )
            pair = (result.arm, result.seed)
            at, known = kept.setdefault(pair, (name, result))
            if _without_seconds(known) != _without_seconds(result):
                raise UsageError(
                    f"{at} and {name}: {result.arm}, seed {result.seed}, has other numbers in "
                    "each; leave one file out, or measure it again"
                )
    return tuple(result for _, result in kept.values())


def _without_seconds(result: ArmResult) -> ArmResult:
    states = tuple(
        state.model_copy(update={"cost": state.cost.model_copy(update={"seconds": 0.0})})
        if state.cost
        else state
        for state in result.states
    )
    return result.model_copy(update={"states": states})


def _runs(path: Path, benchmark: Benchmark) -> tuple[Run, ...]:
    """The runs in a file: those that it was joined from, or the one that made it."""
    if benchmark.joined:
        return benchmark.joined
    if benchmark.code is None or benchmark.revision is None or benchmark.environment is None:
        raise UsageError(f"{path}: does not say what it was measured with")
    seeds: dict[str, tuple[int, ...]] = {}
    for result in benchmark.results:
        seeds[result.arm] = (*seeds.get(result.arm, ()), result.seed)
    return (
        Run(
            file=str(path),
            digest=digest_file(path),
            seeds=seeds,
            code=benchmark.code,
            revision=benchmark.revision,
            environment=benchmark.environment,
        ),
    )


def _shared(values: Sequence[str | None]) -> str | None:
    return values[0] if len(set(values)) == 1 else None
