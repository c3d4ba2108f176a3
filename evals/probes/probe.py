"""How a probe is made: a function of what an update offers, that yields Measurements.

A probe lives in one file of evals/probes and has the name of its function. A gate names the
probes that it reads (`Params.probes`), and a probe that no gate of the policy names is never
run. A probe measures each model by itself and yields one Measurement a model, `NAME.what@role`,
with one value an item, so that a gate pairs them as it pairs answers to a suite:

    @probe("extraction.run@champion", "extraction.run@candidate")
    def extraction(given: Given) -> Iterator[Measurement]:
        exam = {...}                                    # what is asked, as plain data
        for role in ("champion", "candidate"):
            answers = given.ask("extraction", role, exam, lambda subject: {...})
            yield measurement("extraction.run", role, items, answers["run"], given.settings(...))

What a model answers is kept by the digests of the model, of the exam and of the code, so the
champion answers once. Whatever breaks leaves a Broken for every name that the probe promised.
Texts of users are in exams and nowhere else: measurements hold numbers and hashed names.
"""

import importlib
import math
import pkgutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import Field

from tidegate.evals.files import read_checked, write_checked
from tidegate.evals.harness import LIBRARIES, Role, Subject
from tidegate.evals.probes.mining import Gram
from tidegate.evals.samples import Unusable, mean_interval
from tidegate.gates.digest import digest_file, digest_json
from tidegate.gates.types import (
    Broken,
    Digest,
    Measurement,
    Noun,
    Progress,
    Report,
    ignore_progress,
)

Values = dict[str, tuple[float, ...]]
BOTH: tuple[Role, ...] = ("champion", "candidate")


class ProbeRun(Noun):
    """One probe of one update: its measurements, or why there are none, and what it cost."""

    probe: str
    measurements: tuple[Measurement, ...] = ()
    broken: tuple[Broken, ...] = ()
    items: int = Field(default=0, ge=0, description="values measured, over all models")
    tokens: int = Field(default=0, ge=0, description="tokens that went through a model")
    seconds: float = Field(default=0, ge=0)
    cached: bool = Field(default=False, description="every answer was kept from earlier")


@dataclass
class Spent:
    """What the answers of one probe cost."""

    tokens: int = 0
    asked: int = 0


@dataclass(frozen=True)
class Given:
    """What an update offers its probes.

    subject: a role's model, loaded when it is first asked for; hold none longer than a call.
    digests: of every role's model. kept: Parquet of the rows that were trained on.
    A field that an update may lack is None: a probe that needs it raises Unusable.
    """

    subject: Callable[[Role], Subject]
    digests: Mapping[Role, Digest]
    base: Digest
    kept: Path
    cache: Path
    canaries: Path | None = None
    flagged: tuple[Gram, ...] = ()  # phrases of what the data gates kept out
    seed: int = 0
    how: Mapping[str, str] = field(default_factory=dict)  # device and dtype
    progress: Report = ignore_progress
    spent: Spent = field(default_factory=Spent)

    def ask(
        self, name: str, role: Role, exam: Any, answer: Callable[[Subject], Values]
    ) -> Values:
        """What the role's model answers to the exam; from what was kept, if it is there.

        Raises Unusable for an answer that is not a finite number.
        """
        key = {
            "model": self.digests[role],
            "base": self.base,
            "exam": digest_json(exam),
            "settings": self.settings(name),
        }
        path = self.cache / "probes" / f"{digest_json(key).removeprefix('sha256:')}.json.gz"
        kept = read_checked(path)
        if kept is not None and kept["key"] == key:
            return {what: tuple(values) for what, values in kept["values"].items()}
        self.progress(Progress(f"probe {name} of the {role}", 0, None, ""))
        values = answer(self.subject(role))
        for what, numbers in values.items():
            if not all(map(math.isfinite, numbers)):
                raise Unusable(f"{name}.{what}@{role} holds a value that is not a number")
        self.spent.asked += 1
        write_checked(path, {"key": key, "values": values})
        return values

    def settings(self, name: str, **more: str) -> dict[str, str]:
        """All that two models must share for their answers to be compared."""
        libraries = {library: version(library) for library in LIBRARIES}
        return {"probe": name, "code": CODE, **self.how, **libraries, **more}


def _code() -> Digest:
    """Of every file of evals/probes: what is running is what was there when it was imported."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return digest_json({file.name: digest_file(file) for file in files})


CODE = _code()
Ask = Callable[[Given], Iterable[Measurement]]


@dataclass(frozen=True)
class Probe:
    name: str
    measures: tuple[str, ...]  # names of the measurements that it promises
    ask: Ask
    summary: str


PROBES: dict[str, Probe] = {}


def probe(*measures: str) -> Callable[[Ask], Ask]:
    """Register a probe under the name of its function; the function itself is unchanged."""

    def register(ask: Ask) -> Ask:
        name = ask.__name__
        if name in PROBES:
            raise ValueError(f"two probes are named {name!r}")
        if not ask.__doc__:
            raise ValueError(f"probe {name!r} has no docstring: say what it measures")
        PROBES[name] = Probe(name, measures, ask, ask.__doc__.strip().splitlines()[0])
        return ask

    return register


def load_probes() -> dict[str, Probe]:
    """Import every file of evals/probes and return all probes by name."""
    from tidegate.evals import probes

    for module in pkgutil.iter_modules(probes.__path__, f"{probes.__name__}."):
        importlib.import_module(module.name)
    return PROBES


def run_probes(names: Sequence[str], given: Given) -> Iterator[ProbeRun]:
    """Each probe in turn. A name that no probe has, and a probe that breaks, give Broken.

    Raises nothing but an interrupt.
    """
    known = load_probes()
    for name in names:
        if name in known:
            yield _run(known[name], given)
        else:
            reason = f"there is no probe {name!r}"
            yield ProbeRun(probe=name, broken=(Broken(name=name, reason=reason),))


def _run(probe: Probe, given: Given) -> ProbeRun:
    given.spent.tokens = given.spent.asked = 0
    started = time.monotonic()
    try:
        measured = tuple(probe.ask(given))
        names = [m.name for m in measured]
        if sorted(names) != sorted(probe.measures):
            raise Unusable(f"it measured {', '.join(names) or 'nothing'}")
    except Exception as error:  # noqa: BLE001  whatever went wrong, there is no number
        return _broken(probe, error)
    return ProbeRun(
        probe=probe.name,
        measurements=measured,
        items=sum(len(m.items) for m in measured),
        tokens=given.spent.tokens,
        seconds=time.monotonic() - started,
        cached=not given.spent.asked,
    )


def _broken(probe: Probe, error: Exception) -> ProbeRun:
    """Only the kind of an error that is not ours: its message may quote a user's text."""
    kind = type(error).__name__
    known = isinstance(error, Unusable)
    reason = (
        f"{kind}: {error}" if known else f"{kind} (its message is withheld: it may hold text)"
    )
    names = probe.measures
    return ProbeRun(
        probe=probe.name, broken=tuple(Broken(name=name, reason=reason) for name in names)
    )


def measurement(
    what: str,
    role: Role,
    items: Sequence[str],
    values: Sequence[float],
    settings: dict[str, str],
    **more: Any,
) -> Measurement:
    """`what@role`: the mean over items, its 95 % interval by Student's t, and the values."""
    if len(items) != len(values) or not items:
        raise Unusable(f"{what}@{role}: {len(values)} answers for {len(items)} items")
    mean, low, high = mean_interval(values)
    return Measurement(
        name=f"{what}@{role}",
        value=mean,
        low=low,
        high=high,
        n=len(values),
        items=tuple(items),
        values=tuple(values),
        settings=settings,
        **{"planned": len(values), **more},
    )
