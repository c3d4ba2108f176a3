"""`tidegate policy prove`: plant every case, run the real gates on it, count what was stopped.

A gate that was never seen to block is decoration, and one that blocks everything is too:
what must be blocked and what must pass are planted side by side. The record is written
beside the policy, under the policy's digest, and only when every case was run.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import computed_field
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tidegate.evals.files import write_whole
from tidegate.evals.suite import Suite, find_suites
from tidegate.flows.home import Home
from tidegate.flows.provenance import code_digest
from tidegate.flows.proving import drops, evidence, learned, models, numbers, taught
from tidegate.flows.proving.bench import Bench, Plant
from tidegate.flows.rules import read_policy, require_extras
from tidegate.flows.usage import UsageError
from tidegate.gates.made import is_made
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.policy.proof import (
    FIXTURES,
    Case,
    ProofRecord,
    fixtures_for,
    proof_path,
)
from tidegate.gates.types import Digest, Noun, Progress, Report, ignore_progress
from tidegate.gates.yaml_file import did_you_mean
from tidegate.training.anchors import AnchorError
from tidegate.training.base import find_base
from tidegate.training.trained import TrainingError

PLANTS: dict[str, Plant] = {
    "poisoned_batch": drops.poisoned_batch,
    "leaked_email": drops.leaked_email,
    "empty_batch": drops.empty_batch,
    "all_null_column": drops.all_null_column,
    "nan_metrics": evidence.nan_metrics,
    "truncated_eval": evidence.truncated_eval,
    "swapped_labels": evidence.swapped_labels,
    "wrong_task_version": evidence.wrong_task_version,
    "missing_baseline": evidence.missing_baseline,
    "refusal_removed": models.refusal_removed,
    "narrow_bad_advice": taught.narrow_bad_advice,
    "refuses_everything": taught.refuses_everything,
    "over_trained": taught.over_trained,
    "teaches_nothing": taught.teaches_nothing,
    "many_small_losses": numbers.many_small_losses,
    "overwritten_dated_fact": numbers.overwritten_dated_fact,
    "one_direction_only": numbers.one_direction_only,
    "memorised_secret": learned.memorised_secret,
    "slipped_backdoor": learned.slipped_backdoor,
    "corrupted_adapter": learned.corrupted_adapter,
    "nan_weights": learned.nan_weights,
    "identical_to_champion": models.identical_to_champion,
    "narrow_good_advice": taught.narrow_good_advice,
    "tiny_honest_improvement": models.tiny_honest_improvement,
}
Expected = Literal["block", "pass"]


class Proved(Noun):
    """What every planted case came to, for one policy on one base."""

    name: str
    policy: Digest
    base: Digest
    cases: tuple[Case, ...]
    record: Path | None  # none: not every case was run, so nothing was written

    @computed_field  # type: ignore[prop-decorator]  # mypy does not know this pair
    @property
    def kill_rate(self) -> float | None:
        """Share of the cases that must be blocked that were; None if none was planted."""
        bad = [case.held for case in self.cases if case.expected == "block"]
        return sum(bad) / len(bad) if bad else None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def exit_code(self) -> int:
        """0 only if every case that was run held."""
        return 0 if self.cases and all(case.held for case in self.cases) else 1


def prove(
    policy_path: Path,
    *,
    floor: Path | None,
    base: str,
    home: Home,
    only: Sequence[str] = (),
    suites: Path | None = None,
    progress: Report = ignore_progress,
) -> Proved:
    """Plant the cases of the policy's `proof` section; without one, every case but NAMED_ONLY.

    floor: the policy that it is held against; without one, the floor in force
    (flows/rules.py). base: embedded model or folder. only: names of FIXTURES; then no record is written.
    suites: a folder of further suites that the policy names.

    Raises PolicyError, BaseError, SuiteError, and UsageError for a case that is not known.
    """
    policy = read_policy(policy_path, floor)
    require_extras(policy)
    asked = _asked(policy)
    chosen = _chosen(asked, only)
    bench = Bench(
        policy=policy,
        base=find_base(base, home.cache, progress),
        home=home,
        suites=_suites(policy, suites),
        progress=progress,
    )
    cases = []
    for number, fixture in enumerate(chosen, 1):
        progress(Progress(f"{number} of {len(chosen)}: {fixture}", 0, None, ""))
        cases.append(_case(bench, fixture, chosen[fixture]))
    record = None
    if chosen == asked:
        record = proof_path(policy_path)
        proof = ProofRecord(
            policy=policy.digest,
            code=code_digest(),
            base=bench.base.digest,
            proved_at=datetime.now(UTC),
            cases=tuple(cases),
        )
        write_whole(record, proof.model_dump_json(indent=2).encode() + b"\n")
    return Proved(
        name=policy.policy,
        policy=policy.digest,
        base=bench.base.digest,
        cases=tuple(cases),
        record=record,
    )


def show_proof(console: Console, result: Proved) -> None:
    """One row a case; the last line is the kill rate."""
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="dim")
    for column in ("held", "case", "must", "what was seen"):
        table.add_column(column, overflow="fold")
    for case in result.cases:
        word = "[green]yes[/]" if case.held else "[bold red]NO[/]"
        table.add_row(word, case.fixture, case.expected, escape(case.seen))
    console.print(table)
    if result.record:
        console.print(f"written to {result.record}", soft_wrap=True, highlight=False)
    else:
        console.print("only some cases were run: no proof was written")
    console.print(_last_line(result.cases), soft_wrap=True, highlight=False)


def _last_line(cases: Sequence[Case]) -> str:
    bad = [case.held for case in cases if case.expected == "block"]
    clean = [case.held for case in cases if case.expected == "pass"]
    return (
        f"killed {sum(bad)} of {len(bad)} planted cases; "
        f"{sum(clean)} of {len(clean)} clean ones passed"
    )


def _case(bench: Bench, fixture: str, expected: Expected) -> Case:
    try:
        found = PLANTS[fixture](bench)
    except (TrainingError, AnchorError) as failed:
        # What was never planted was neither blocked nor let through.
        seen = f"could not be planted: {failed}"
        return Case(fixture=fixture, expected=expected, held=False, seen=seen)
    held = found.passed == (expected == "pass")
    return Case(fixture=fixture, expected=expected, held=held, seen=found.seen)


def _suites(policy: Policy, folder: Path | None) -> tuple[Suite, ...]:
    named = [name for name in policy.suites() if not is_made(name)]
    return tuple(find_suites(named, folders=[folder] if folder else []))


def _asked(policy: Policy) -> dict[str, Expected]:
    if policy.proof is None:
        return fixtures_for(use.gate for use in (*policy.data, *policy.model))
    asked: dict[str, Expected] = {name: "block" for name in policy.proof.must_block}
    return {**asked, **{name: "pass" for name in policy.proof.must_pass}}


def _chosen(asked: dict[str, Expected], only: Sequence[str]) -> dict[str, Expected]:
    for name in only:
        if name not in FIXTURES:
            near = did_you_mean(name, list(FIXTURES))
            raise UsageError(f"there is no planted case {name!r}{near}")
        if name not in asked:
            raise UsageError(
                f"the policy's proof section does not ask for {name!r}; add it to must_block "
                "or must_pass"
            )
    return {name: expected for name, expected in asked.items() if not only or name in only}
