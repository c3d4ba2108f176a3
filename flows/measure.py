"""From a trained candidate to the evidence about it: three models, the same items.

Where the policy escalates, every suite begins with one chunk of its items. Suites of which
more items could still settle a gate get another chunk, on all three models, until every gate
is settled, the suites are whole, or the policy's budget of items is spent. Otherwise every
suite is measured whole. What is asked next depends on the evidence alone, and every chunk is
kept, so a run that was killed asks the same again and finds it.

Candidate, champion and anchor may be one model by digest (they are in a line's first
update): it is loaded once. Where measuring may go on, the models stay loaded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tidegate.evals.files import read_checked, write_checked
from tidegate.evals.harness import Role, Subject, SuiteRun, broken
from tidegate.evals.probes.mining import Gram
from tidegate.evals.probes.probe import Given, ProbeRun, run_probes
from tidegate.evals.suite import Suite
from tidegate.flows.line import Line
from tidegate.flows.loaded import load_measured
from tidegate.flows.serving import probe_serving
from tidegate.gates.checks.serves import Serving
from tidegate.gates.decide import unsettled
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.types import Broken, Candidate, CandidateEvidence, Measurement, Report
from tidegate.training.base import device_and_dtype

ROLES: tuple[Role, ...] = ("anchor", "champion", "candidate")
SPENT = "spent.eval_items@candidate"
LATENCY = "serves.seconds_per_token"


@dataclass(frozen=True)
class Measured:
    """The evidence about a candidate, each suite's run on each model, and why it ended."""

    evidence: CandidateEvidence
    runs: tuple[SuiteRun, ...]
    stopped: str  # one sentence: what ended the measuring
    probed: tuple[ProbeRun, ...] = ()


@dataclass(frozen=True)
class Material:
    """What the candidate was made of, for the probes that ask about it."""

    kept: Path  # rows of the batch that were trained on
    seed: int
    canaries: Path | None = None  # what was inserted beside them, in clear
    flagged: tuple[Gram, ...] = ()  # phrases of what the data gates kept out


class _Models:
    """The models of one update, loaded when they are first asked and once by digest."""

    def __init__(
        self, line: Line, candidate: Candidate, adapter: Path, chunk: int, *, keep: bool
    ) -> None:
        self.line, self.chunk, self.keep = line, chunk, keep
        self.known: dict[Role, tuple[str, Path | None]] = {
            "anchor": (line.anchor.candidate.digest, line.anchor.adapter),
            "champion": (line.champion.candidate.digest, line.champion.adapter),
            "candidate": (candidate.digest, adapter),
        }
        self.loaded: dict[str, Subject] = {}

    def __getitem__(self, role: Role) -> Subject:
        digest, adapter = self.known[role]
        if digest not in self.loaded:
            if not self.keep:
                self.loaded.clear()  # before the next one is loaded: one fits where two may not
            self.loaded[digest] = Subject(
                *load_measured(self.line.base, adapter),
                digest,
                self.line.home.cache,
                self.chunk,
            )
        return self.loaded[digest]

    def given(self, material: Material, progress: Report) -> Given:
        """The same models, for probes."""
        device, dtype = device_and_dtype()
        return Given(
            subject=self.__getitem__,
            digests={role: digest for role, (digest, _) in self.known.items()},
            base=self.line.base.digest,
            cache=self.line.home.cache,
            how={"device": device, "dtype": str(dtype)},
            progress=progress,
            **vars(material),
        )


def measure(
    line: Line,
    policy: Policy,
    candidate: Candidate,
    adapter: Path,
    suites: Sequence[Suite],
    material: Material,
    progress: Report,
    known: Sequence[Measurement] = (),
) -> Measured:
    """Ask anchor, champion and candidate until the policy's gates are settled.

    known: what was measured before, about earlier updates; it joins the evidence.
    Also probes that the candidate serves, if a gate asks. Suites that the budget has no room
    for are Broken.
    Raises BaseError if a model cannot be loaded.
    """
    chunk = policy.statistics.sequential.chunk
    models = _Models(line, candidate, adapter, chunk, keep=policy.escalates)
    budget = policy.budget.eval_items
    first = next_items({}, suites, chunk if policy.escalates else None, budget)
    runs = {
        (role, suite.name): broken(suite, role, _no_room(suite, first, budget))
        for role in ROLES
        for suite in suites
    }
    asked = [suite for suite in suites if suite.name in first]
    served: tuple[tuple[Measurement, ...], tuple[Broken, ...]] | None = None
    while True:
        for role in ROLES:
            found = models[role].measure(asked, role=role, first=first, progress=progress)
            for run in found.runs:
                runs[role, run.suite] = _after(runs[role, run.suite], run)
        if served is None and not policy.served():
            served = (*known,), ()
        elif served is None:
            good, bad = _served(line, candidate, adapter, models["candidate"])
            if not limits_latency(policy):  # seconds differ each time; evidence should not
                good = tuple(m for m in good if m.name != LATENCY)
            served = (*good, *known), bad
        evidence = _evidence(candidate, runs, served, _spent(first, suites))
        names = unsettled(policy, evidence)
        open_suites = [suite for suite in suites if suite.name in names]
        more = next_items(first, open_suites, chunk, budget)
        asked = [suite for suite in open_suites if more[suite.name] > first[suite.name]]
        if not asked:
            stopped = _why(first, suites, names, budget)
            probed = tuple(run_probes(policy.probes(), models.given(material, progress)))
            return Measured(
                with_probes(evidence, probed), tuple(runs.values()), stopped, probed
            )
        first = more


def limits_latency(policy: Policy) -> bool:
    """Whether the policy, or one that it stands on, limits the seconds for a token."""
    serving = [use.params for use in policy.model if isinstance(use.params, Serving)]
    limited = any(params.max_seconds_per_token is not None for params in serving)
    return limited or (policy.parent is not None and limits_latency(policy.parent))


def _served(
    line: Line, candidate: Candidate, adapter: Path, subject: Subject
) -> tuple[tuple[Measurement, ...], tuple[Broken, ...]]:
    """How the candidate serves, kept beside the adapter once it did.

    Seconds differ each time: an update that is killed after its statement and run again must
    have the evidence that the statement is about.
    """
    path = adapter.parent / f"serving-{candidate.digest[7:19]}.json.gz"
    kept = read_checked(path)
    if kept is not None and kept["candidate"] == candidate.digest:
        return tuple(map(Measurement.model_validate_json, kept["measured"])), ()
    good, broken = probe_serving(line.base, adapter, subject.model, subject.tokenizer)
    if not broken:
        measured = [one.model_dump_json() for one in good]
        write_checked(path, {"candidate": candidate.digest, "measured": measured})
    return good, broken


def with_probes(evidence: CandidateEvidence, probed: Sequence[ProbeRun]) -> CandidateEvidence:
    """The evidence and what the probes found, or why they found nothing."""
    return CandidateEvidence(
        subject=evidence.subject,
        measurements=(*evidence.measurements, *(m for run in probed for m in run.measurements)),
        broken=(*evidence.broken, *(b for run in probed for b in run.broken)),
    )


def next_items(
    first: Mapping[str, int], wanted: Sequence[Suite], chunk: int | None, budget: int | None
) -> dict[str, int]:
    """How many items of each suite are asked next: a chunk more, or all, while it lasts."""
    more = dict(first)
    for suite in wanted:
        had = more.get(suite.name, 0)
        items = suite.n if chunk is None else min(suite.n, had + chunk)
        if budget is None or sum(more.values()) - had + items <= budget:
            more[suite.name] = items
    return more


def _after(before: SuiteRun, run: SuiteRun) -> SuiteRun:
    """The later run of a suite, with what both cost."""
    return run.model_copy(
        update={
            "tokens": before.tokens + run.tokens,
            "seconds": before.seconds + run.seconds,
            "cached": run.cached and not before.tokens,
        }
    )


def _spent(first: Mapping[str, int], suites: Sequence[Suite]) -> Measurement:
    """Items that the candidate answered, of all that the suites have."""
    items = sum(first.values())
    planned = sum(suite.n for suite in suites)
    return Measurement(name=SPENT, value=float(items), n=items, planned=planned)


def _evidence(
    candidate: Candidate,
    runs: Mapping[tuple[Role, str], SuiteRun],
    served: tuple[tuple[Measurement, ...], tuple[Broken, ...]],
    spent: Measurement,
) -> CandidateEvidence:
    serving, not_serving = served
    return CandidateEvidence(
        subject=candidate.digest,
        measurements=(*(m for r in runs.values() for m in r.measurements), *serving, spent),
        broken=(*(b for r in runs.values() for b in r.broken), *not_serving),
    )


def _no_room(suite: Suite, first: Mapping[str, int], budget: int | None) -> str:
    return (
        f"budget.eval_items is {budget}, {sum(first.values())} went to other suites, and "
        f"{suite.name} has {suite.n} items; raise the budget or ask about fewer suites"
    )


def _why(
    first: Mapping[str, int],
    suites: Sequence[Suite],
    unsettled_suites: Sequence[str],
    budget: int | None,
) -> str:
    spent, planned = sum(first.values()), sum(suite.n for suite in suites)
    items = f"The candidate answered {spent} of {planned} items"
    if unsettled_suites:
        names = ", ".join(unsettled_suites)
        return f"{items}: budget.eval_items of {budget} has no room for more of {names}."
    if len(first) < len(suites):
        names = ", ".join(suite.name for suite in suites if suite.name not in first)
        return f"{items}: budget.eval_items of {budget} has no room for {names}."
    if spent == planned:
        return f"{items}: every suite is whole."
    return f"{items}: no gate needs more."
