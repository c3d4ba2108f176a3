"""Which rule of a recipe names which kept record. The first that does decides.

    volatile  a word of VOLATILE is in what would be learned
    dated     the record has a `valid_until`
    masked    records.jsonl of the check says `mask`: a gate put a stand-in somewhere into it
    one_off   `cluster_authors` of signals.parquet is below the rule's number: so few authors of
              the batch, as it arrived, were given nearly this answer (gates/signals/copies.py)
    source    the record's source is one of the rule's

A rule to the context store passes over what is no example to follow (a thumbs-down without a
correction): it is no answer to look up. Rules to modules and weights name it.
Cannot see: answers that will be out of date and say so in no word listed here; what is about
one person and was not masked; who asked, where two exchanges share only a short answer.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.flows.usage import UsageError
from tidegate.gates.signals import compute
from tidegate.gates.signals.copies import AUTHORS
from tidegate.gates.types import Measurement, Noun
from tidegate.training.routes import (
    Dated,
    Destination,
    FromSource,
    Masked,
    OneOff,
    Route,
    Volatile,
)

# Words by which an answer says that it holds for now only.
VOLATILE = (
    r"(?i)\b(today|tomorrow|tonight|yesterday|right now|at the moment|currently|as of now"
    r"|this (?:week|month|morning|afternoon|evening)|until further notice"
    r"|exchange rate|stock price|share price|weather forecast)\b"
)


class RuleCount(Noun):
    """What one rule did, by its place in the recipe."""

    rule: int  # from 1
    to: Destination
    when: str
    why: str
    module: str | None
    records: int

    def measurements(self, kept: int) -> tuple[Measurement, Measurement]:
        """How many of the kept records it named, and their share."""
        share = self.records / kept if kept else 0.0
        name = f"routes.{self.rule}.{self.to}"
        return (
            Measurement(name=f"{name}.records@candidate", value=float(self.records), n=kept),
            Measurement(name=f"{name}.share@candidate", value=share, n=kept),
        )


@dataclass(frozen=True)
class Rules:
    """The rules of a recipe, and what the check found that they ask about."""

    model: str  # the line, by which drops of modules are named
    routes: tuple[Route, ...]
    masked: frozenset[str]  # ids
    authors: Mapping[str, float]  # by id; empty where no rule asks

    @classmethod
    def of(cls, model: str, routes: Sequence[Route], check: Path) -> "Rules":
        """check: the folder that the check wrote. Ids are held, no texts."""
        corroborated = any(isinstance(rule, OneOff) for rule in routes)
        return cls(
            model,
            tuple(routes),
            _masked(check / "records.jsonl"),
            _authors(check / "signals.parquet") if corroborated else {},
        )

    def place(self, rows: pa.Table) -> np.ndarray:
        """For each row the number of the rule that decides, from 1; 0 where none does."""
        target = is_target(rows)
        found = np.zeros(rows.num_rows, dtype=np.int64)
        for number, rule in enumerate(self.routes, 1):
            named = self._named(rule, rows)
            if rule.to == "context":
                named &= target
            found[(found == 0) & named] = number
        return found

    def _named(self, rule: Route, rows: pa.Table) -> np.ndarray:
        match rule:
            case Volatile():
                return is_volatile(rows)
            case Dated():
                return is_dated(rows)
            case Masked():
                return _by_id(rows, lambda name: name in self.masked)
            case OneOff():
                # What was not counted is corroborated by nobody.
                return _by_id(rows, lambda name: self.authors.get(name, 0.0) < rule.authors)
            case FromSource():
                return _plain(pc.is_in(rows["source"], value_set=pa.array(rule.sources)))

    def counted(self, counts: Mapping[int, int]) -> tuple[RuleCount, ...]:
        """What each rule did. counts: of records, by the rule's number."""
        return tuple(
            RuleCount(
                rule=number,
                to=rule.to,
                when=rule.when,
                why=rule.why,
                module=rule.module,
                records=counts.get(number, 0),
            )
            for number, rule in enumerate(self.routes, 1)
        )


def is_target(rows: pa.Table) -> np.ndarray:
    """Which rows are to be learned, and not only examples of what not to say."""
    return _plain(pc.equal(rows["learn"], "target"))


def is_dated(rows: pa.Table) -> np.ndarray:
    return _plain(pc.is_valid(rows["valid_until"]))


def is_volatile(rows: pa.Table) -> np.ndarray:
    return _plain(pc.match_substring_regex(rows["response"], VOLATILE))


def _plain(said: pa.ChunkedArray) -> np.ndarray:
    """Booleans; what is not known is not so."""
    return np.array(pc.fill_null(said, False).to_pylist(), dtype=bool)


def _by_id(rows: pa.Table, asked: Callable[[str], bool]) -> np.ndarray:
    return np.array([asked(name) for name in rows["id"].to_pylist()], dtype=bool)


def _masked(path: Path) -> frozenset[str]:
    found = set()
    try:
        with path.open("rb") as lines:
            for line in lines:
                said = orjson.loads(line)
                if said["action"] == "mask":
                    found.add(said["id"])
    except (OSError, ValueError, KeyError, TypeError):
        raise _damaged(path) from None
    return frozenset(found)


def _authors(path: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    try:
        for table in compute.chunks(path, ["id", AUTHORS]):
            found.update(zip(table["id"].to_pylist(), table[AUTHORS].to_pylist(), strict=True))
    except (OSError, pa.ArrowException, KeyError):
        raise _damaged(path) from None
    return {name: count for name, count in found.items() if count is not None}


def _damaged(path: Path) -> UsageError:
    return UsageError(
        f"{path}: is gone or damaged, so that no rule can be asked; move the folder of the update "
        "away and run it again"
    )
