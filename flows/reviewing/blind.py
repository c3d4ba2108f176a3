"""A look at two models without knowing which is which.

Whoever has read that a candidate gained sees gains. So a reviewer first gets the items of the
open suites to which champion and candidate prefer different answers, the strongest disagreement
first, as A and B in an order that a recorded seed draws; the key is another page, and the first
page holds its digest, so that nobody can write another key afterwards.

An answer here is the one of an item's choices with the highest log-likelihood per token, as the
suites score it: which of the given answers a model would rather say, not what it would write by
itself. Written answers are not shown: a model may repeat what it learned from users. For the
same reason items of private suites are only counted. Passages have no answers to compare.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tidegate.evals.harness import SuiteRun
from tidegate.evals.samples import Sample
from tidegate.evals.suite import Choices, Suite
from tidegate.flows.reviewing.report import page_templates
from tidegate.gates.digest import digest_bytes, digest_json

SHOWN = 12  # items: what a person reads with care
PAGE, KEY = "blind.html", "blind_key.html"
Side = Literal["A", "B"]


@dataclass(frozen=True)
class Flip:
    """One item, the two answers, and whose they are.

    strength: nats per token; how much more the two models together prefer each its own answer
    to the other's. Never negative. right: None where the suite counts neither answer.
    """

    suite: str
    item: str
    question: str
    answers: Mapping[Side, str]
    candidate: Side
    right: Side | None
    strength: float


@dataclass(frozen=True)
class Blind:
    """The items of a blind look. compared: open items that both answered. private: flips of
    private suites, which are only counted. flipped: all flips of open suites."""

    seed: str
    flips: tuple[Flip, ...]
    flipped: int
    compared: int
    private: int

    @property
    def won(self) -> dict[str, int]:
        """How many of the flips shown each model answers as its suite wants."""
        judged = [flip for flip in self.flips if flip.right is not None]
        mine = sum(flip.right == flip.candidate for flip in judged)
        return {"candidate": mine, "champion": len(judged) - mine}


@dataclass(frozen=True)
class _Found:
    suite: Suite
    item: str
    mine: int  # the choice that the candidate prefers
    theirs: int
    strength: float


def blind(
    suites: Sequence[Suite], runs: Sequence[SuiteRun], candidate: str, champion: str
) -> Blind:
    """What of these runs a person should look at; candidate, champion: digests of the models.

    The same models give the same page, in whatever order and however often it is made.
    """
    seed = digest_json({"candidate": candidate, "champion": champion, "page": "blind"})
    found: list[_Found] = []
    compared = 0
    for suite in suites:
        if suite.kind == "multiple_choice":
            mine, theirs = (_samples(runs, suite, role) for role in ("candidate", "champion"))
            compared += 0 if suite.private else len(mine.keys() & theirs.keys())
            found += _disagreements(suite, mine, theirs)
    open_ones = sorted(
        (one for one in found if not one.suite.private),
        key=lambda one: (-one.strength, one.suite.name, one.item),
    )
    items = {
        (suite.name, item.id): item
        for suite in {one.suite.name: one.suite for one in open_ones}.values()
        for item in suite.read()
        if isinstance(item, Choices)
    }
    draw = random.Random(seed)
    flips = tuple(
        _flip(one, items[one.suite.name, one.item], draw) for one in open_ones[:SHOWN]
    )
    return Blind(seed, flips, len(open_ones), compared, len(found) - len(open_ones))


def write_blind(found: Blind, model: str, version: str, folder: Path) -> tuple[Path, ...]:
    """The page and its key into the folder; nothing where there is nothing to look at."""
    if not found.flips:
        return ()
    said = {"model": model, "version": version, "blind": found}
    key = page_templates().get_template("blind_key.html.j2").render(
        **said, title=f"{model}, version {version}: key"
    )  # fmt: skip
    page = page_templates().get_template("blind.html.j2").render(
        **said, title=f"{model}, version {version}: A or B", digest=digest_bytes(key.encode())
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in ((KEY, key), (PAGE, page)):
        (folder / name).write_text(text, encoding="utf-8")
    return folder / PAGE, folder / KEY


def _samples(runs: Sequence[SuiteRun], suite: Suite, role: str) -> dict[str, Sample]:
    return {
        sample.item: sample
        for run in runs
        if (run.suite, run.role) == (suite.name, role)
        for sample in run.samples
    }


def _disagreements(
    suite: Suite, mine: Mapping[str, Sample], theirs: Mapping[str, Sample]
) -> Iterator[_Found]:
    for item in suite.items:
        if item in mine and item in theirs:
            ours, other = _per_token(mine[item]), _per_token(theirs[item])
            a, b = _best(ours), _best(other)
            if a != b:
                strength = (ours[a] - ours[b]) + (other[b] - other[a])
                yield _Found(suite, item, a, b, strength)


def _per_token(sample: Sample) -> list[float]:
    return [loglik / n for loglik, n in zip(sample.logliks, sample.tokens, strict=True)]


def _best(values: Sequence[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)


def _flip(one: _Found, item: Choices, draw: random.Random) -> Flip:
    candidate: Side = draw.choice(("A", "B"))
    champion: Side = "B" if candidate == "A" else "A"
    sides: dict[int, Side] = {one.mine: candidate, one.theirs: champion}
    return Flip(
        suite=one.suite.name,
        item=one.item,
        question=item.question,
        answers={side: item.choices[choice] for choice, side in sides.items()},
        candidate=candidate,
        right=sides.get(item.answer),
        strength=one.strength,
    )
