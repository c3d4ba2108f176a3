"""The suites that are made for one update: from its batch, its probes and the line's past."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tidegate.evals import dressing, fact_suites, past_suite, update_suite
from tidegate.evals.past_suite import Past
from tidegate.evals.suite import Suite, load_suite
from tidegate.flows.home import Home
from tidegate.gates.made import DRESSED, PAST, UPDATE, is_made
from tidegate.gates.types import Measurement

FOLDER = "update_suite"


@dataclass(frozen=True)
class Sources:
    """What suites are made from, and the folder that they are written to."""

    kept: Path  # rows that are trained on
    probes: Path | None
    out: Path
    seed: int
    past: tuple[Past, ...] = ()  # updates that the champion went through


def check_sources(names: Sequence[str], probes: Path | None) -> None:
    """Before any work: raise SuiteError where a named suite needs probes that are not there."""
    for name in names:
        if name in fact_suites.KINDS:
            fact_suites.check(name, probes)


def past_of(home: Home, updates: Sequence[str]) -> tuple[Past, ...]:
    """Where earlier updates left their suites and answers."""
    return tuple(
        Past(
            id=name,
            suite=home.updates / name / FOLDER / f"{UPDATE}.yaml",
            samples=home.updates / name / "samples" / "candidate" / f"{UPDATE}.jsonl.gz",
        )
        for name in updates
    )


def make_suites(names: Sequence[str], asked: Sequence[Suite], sources: Sources) -> list[Suite]:
    """Those of the named suites that are made, in the order of the names.

    asked: the suites that were found; a dressed suite asks one of them again. Of a line
    without earlier updates there is no suite of their questions.
    Raises SuiteError for what cannot be made from these sources.
    """
    made = [_make(name, asked, sources) for name in names if is_made(name)]
    return [suite for suite in made if suite is not None]


def held_out(suites: Iterable[Suite]) -> list[str]:
    """What is asked, for a training whose recipe expands rows: it must make none of it."""
    return [text for suite in suites for text in suite.texts()]


def made_before(work: Path) -> list[Suite]:
    """The suites that an update made, from its folder."""
    return [load_suite(path) for path in sorted((work / FOLDER).glob("*.yaml"))]


def about_the_past(
    names: Sequence[str], made: Sequence[Suite], sources: Sources
) -> tuple[Measurement, ...]:
    """What was measured when earlier updates were learned, if a gate asks about it."""
    if PAST not in names:
        return ()
    asked = next((suite for suite in made if suite.name == PAST), None)
    return past_suite.learned_then(sources.past, asked)


def _make(name: str, asked: Sequence[Suite], sources: Sources) -> Suite | None:
    if name == UPDATE:
        return update_suite.build(
            sources.kept, probes=sources.probes, out=sources.out, seed=sources.seed
        )
    if name == PAST:
        return past_suite.build(sources.past, out=sources.out)
    if name in fact_suites.KINDS and sources.probes is not None:
        return fact_suites.build(name, sources.probes, out=sources.out)
    plain = next(s for s in asked if s.name == name.removesuffix(DRESSED))
    return dressing.build(plain, sources.kept, name=name, out=sources.out, seed=sources.seed)
