"""Whether a rebuilt version can be told from a never-trained twin, and whether that could be seen.

    exam of the erased rows → answers of the erased version → (delete, rebuild) →
    train the twin → answers of the rebuilt version and of the twin → judge → delete the exam

The twin learns what the rebuilt version learned, from the same clean ancestor on, with other
seeds. The rebuilt version never read the rows either, so the two must not be told apart: that
checks the machinery of the rebuild, and nothing else. It counts only if the same exam tells
the *erased* version from the twin (the control): else it could not have seen a trace.

Kept in the request's folder until it is judged: the exam, which holds the rows (0600), the
erased version's answers, which are numbers, and the twin's weights, which hold no erased row.
"""

import shutil
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from tidegate.evals.recall import Exam, Examinee, Recall, compare, recall
from tidegate.evals.samples import Unusable
from tidegate.evals.suite import SuiteError
from tidegate.flows import durable
from tidegate.flows.asked import recorded_rules
from tidegate.flows.erasing import state as states
from tidegate.flows.erasing.plan import LinePlan
from tidegate.flows.erasing.state import Rebuilt, State, Told
from tidegate.flows.erasing.twin import exam_of, other_seed, train_twin
from tidegate.flows.home import Home
from tidegate.flows.intake.home_key import write_private
from tidegate.flows.registry import Registry, RegistryError
from tidegate.flows.tracing.steps import ancestry, read_steps
from tidegate.flows.tracing.wanted import Wanted
from tidegate.flows.usage import UsageError
from tidegate.gates.checks.forgets_the_erased import Forgetting, forgets_the_erased
from tidegate.gates.gate import GATES
from tidegate.gates.types import Action, CandidateEvidence, Outcome, Report, Verdict
from tidegate.training.anchors import AnchorError
from tidegate.training.base import Base, BaseError, find_base, load_model
from tidegate.training.rows import RowsError
from tidegate.training.trained import TrainingError

LIMITS = Forgetting(verbatim=True)
Kept = TypeVar("Kept", Exam, Recall)
FAILURES = (
    Unusable,
    SuiteError,
    TrainingError,
    AnchorError,
    BaseError,
    RowsError,
    UsageError,
)


class Unasked(Exception):
    """There is nothing to compare, and why."""


def ask_before(
    home: Home, registry: Registry, state: State, wanted: Wanted, progress: Report
) -> None:
    """Make each line's exam and ask the version that still knows the rows. Found again."""
    states.twin_folder(home, state.request).mkdir(mode=0o700, parents=True, exist_ok=True)
    for line in state.plan.lines:
        place = states.twin_folder(home, state.request) / line.model
        if (place / "before.json").exists():
            continue
        place.mkdir(mode=0o700, exist_ok=True)
        recipe = recorded_rules(home, line.rebuild[-1].update_id)[1]
        try:
            exam = exam_of(home, line, wanted, place, recipe.seed)
            served = registry.load(line.model, line.champion)
            base = find_base(recipe.base, home.cache, progress)
            answers = _answers(
                exam, base, served.adapter, served.candidate.digest, home, progress
            )
        except (*FAILURES, RegistryError) as no:
            durable.replace(place / "no.txt", _why(no).encode())
            continue
        write_private(place / "exam.json", exam.model_dump_json().encode())
        durable.replace(place / "before.json", answers.model_dump_json().encode())


def judge(home: Home, registry: Registry, state: State, progress: Report) -> State:
    """Train a twin for each rebuilt line, compare, and delete exam and twin. Goes on where it was."""
    for line in state.plan.lines:
        if any(told.model == line.model for told in state.told):
            continue
        rebuilt = _last(state, line)
        try:
            told = _told(home, registry, state, line, rebuilt, progress)
        except Unasked as no:
            told = _untold(line, rebuilt, Outcome.MISSING, no)
        except FAILURES as no:
            told = _untold(line, rebuilt, Outcome.ERROR, no)
        state = states.save(home, state.model_copy(update={"told": (*state.told, told)}))
    if states.compares(home, state.request):
        shutil.rmtree(states.twin_folder(home, state.request))
    return state


def told_of(
    model: str, erased: str, rebuilt: str | None, seed: int, learned: int,
    before: Recall, after: Recall, twin: Recall,
) -> Told:  # fmt: skip
    """Pure: what the answers of the erased version, the rebuilt one and the twin come to.

    PASS only if the rebuilt one cannot be told from the twin and the erased one can.
    """
    verdict, measured = _verdict(after, twin)
    control, seen = _verdict(before, twin)
    if verdict.outcome is Outcome.PASS and control.outcome is not Outcome.FAIL:
        verdict = Verdict(
            outcome=Outcome.INCONCLUSIVE,
            reason="the version that had learned the rows cannot be told from the twin either, "
            f"so a trace would not have been seen ({control.reason})",
        )
    return Told(
        model=model,
        erased=erased,
        version=rebuilt,
        outcome=verdict.outcome,
        reason=verdict.reason,
        control=control.outcome,
        control_reason=control.reason,
        rows=len(after.losses),
        learned=learned,
        seed=seed,
        measured={**_numbers("rebuilt", measured), **_numbers("erased", seen)},
    )


def _verdict(candidate: Recall, twin: Recall) -> tuple[Verdict, CandidateEvidence]:
    measured, broken = compare(candidate, twin)
    evidence = CandidateEvidence(
        subject="sha256:" + "0" * 64, measurements=measured, broken=broken
    )
    if broken:
        reason = "; ".join(sorted({one.reason for one in broken}))
        return Verdict(outcome=Outcome.INCONCLUSIVE, reason=reason), evidence
    return GATES[forgets_the_erased.__name__].check(LIMITS, evidence), evidence


def _numbers(who: str, evidence: CandidateEvidence) -> dict[str, str]:
    """As decimal strings: two readers of a statement must not round differently."""
    found: dict[str, str] = {}
    for one in evidence.measurements:
        name = f"{who}.{one.name.removeprefix('unlearning.').partition('@')[0]}"
        found[name] = repr(one.value)
        for end, value in (("low", one.low), ("high", one.high)):
            if value is not None:
                found[f"{name}.{end}"] = repr(value)
    return found


def _told(
    home: Home, registry: Registry, state: State, line: LinePlan, rebuilt: Rebuilt | None,
    progress: Report,
) -> Told:  # fmt: skip
    place = states.twin_folder(home, state.request) / line.model
    if (place / "no.txt").exists():
        raise Unasked((place / "no.txt").read_text())
    if rebuilt is None or rebuilt.version is None:
        raise Unasked("no version was rebuilt that could be compared")
    exam = _read(Exam, place / "exam.json")
    before = _read(Recall, place / "before.json")
    made = registry.load(line.model, rebuilt.version)
    if made.adapter is None:
        raise Unasked(f"version {rebuilt.version} was decided before any weights were made")
    steps = read_steps(home)
    way = [*reversed(ancestry(steps, line.model, rebuilt.version))]
    past = [n for n, step in enumerate(way) if step.version == line.ancestor]
    way = way[past[0] + 1 :] if past else way
    recipe = recorded_rules(home, way[-1].update_id)[1]
    base = find_base(recipe.base, home.cache, progress)
    ancestor = registry.load(line.model, line.ancestor)
    twin, digest = train_twin(home, base, ancestor, registry, way, place, progress)
    if digest == made.candidate.adapter:
        raise TrainingError("another seed made the same weights: the recipe has nothing random")
    after = _answers(exam, base, made.adapter, made.candidate.digest, home, progress)
    never = _answers(exam, base, twin, digest, home, progress)
    seed = other_seed(recipe).seed
    return told_of(
        line.model, line.champion, rebuilt.version, seed, exam.learned, before, after, never
    )  # fmt: skip


def _answers(
    exam: Exam, base: Base, adapter: Path | None, digest: str, home: Home, progress: Report
) -> Recall:
    model, tokenizer = load_model(base, adapter)
    return recall(exam, Examinee(model, tokenizer, digest), home.cache, progress)


def _last(state: State, line: LinePlan) -> Rebuilt | None:
    """The newest rebuilt version that serves, or may once people have approved it."""
    made = {r.of: r for r in state.rebuilt if r.model == line.model}
    found = [made[again.version] for again in line.rebuild if again.version in made]
    able = [r for r in found if r.version and r.action is not Action.REJECT]
    return able[-1] if able else None


def _untold(line: LinePlan, rebuilt: Rebuilt | None, outcome: Outcome, why: Exception) -> Told:
    return Told(
        model=line.model,
        erased=line.champion,
        version=rebuilt.version if rebuilt else None,
        outcome=outcome,
        reason=_why(why),
    )


def _why(no: Exception) -> str:
    """For the ledger, where it stays: no message that may quote a row."""
    return "rows could not be read" if isinstance(no, RowsError) else str(no)


def _read(kind: type[Kept], path: Path) -> Kept:
    try:
        return kind.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        raise Unusable(f"{path.name} of the erasure is gone or damaged") from None
