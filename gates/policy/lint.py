"""What a policy that loads still gets wrong: gates that cannot decide what they ask.

`refuse` is for a policy that would promote, block or hold whatever was measured, or by
luck; `warn` for one that works and says something that is not so. The rules are here and in
two more files: decidable.py (margins and their suites) and reachable.py (gates and settings
that never decide).
"""

from collections.abc import Iterator, Mapping

from tidegate.gates.checks.not_worse import Margin
from tidegate.gates.gate import Comparing
from tidegate.gates.policy.calibration import Calibration
from tidegate.gates.policy.decidable import calibrated, undecidable
from tidegate.gates.policy.finding import Finding, SuiteFacts, at, refuse, warn
from tidegate.gates.policy.nouns import GateUse, Policy
from tidegate.gates.policy.proof import fixtures_for
from tidegate.gates.policy.reachable import idle
from tidegate.gates.yaml_file import did_you_mean


def lint(
    policy: Policy, suites: Mapping[str, SuiteFacts], calibration: Calibration | None
) -> tuple[Finding, ...]:
    """Everything found, refusals first. `suites` are all that the policy may name."""
    known = dict(suites)
    found = [
        *_suites(policy, known),
        *calibrated(policy, calibration),
        *undecidable(policy, known, calibration),
        *idle(policy, known),
        *_people(policy),
        *_budget(policy, known),
        *_proof(policy),
    ]
    return tuple(sorted(found, key=lambda finding: finding.severity != "refuse"))


def _suites(policy: Policy, suites: dict[str, SuiteFacts]) -> Iterator[Finding]:
    for use in policy.model:
        p = use.params
        if not isinstance(p, Comparing):
            continue
        if p.suite not in suites:
            act = did_you_mean(p.suite, list(suites)).removeprefix("; ")
            said = f"there is no suite {p.suite!r}"
            yield refuse(use.title, at("model", use, "suite"), said, act)
            continue
        facts = suites[p.suite]
        if p.metric not in facts.metrics:
            act = did_you_mean(p.metric, list(facts.metrics)).removeprefix("; ")
            said = f"the suite {p.suite} has no metric {p.metric!r}"
            yield refuse(use.title, at("model", use, "metric"), said, act)
        # The slices of a suite that is made from a batch are not known before it.
        if isinstance(p, Margin) and facts.n is not None:
            yield from _slices(use, p, facts)


def _slices(use: GateUse, p: Margin, facts: SuiteFacts) -> Iterator[Finding]:
    if p.slices is None:
        return
    by, least = p.slices.by, p.slices.min_items
    if by not in facts.slices:
        act = did_you_mean(by, list(facts.slices)).removeprefix("; ")
        said = f"the items of {p.suite} are not sliced by {by!r}"
        yield refuse(use.title, at("model", use, "slices", "by"), said, act)
        return
    largest = max(facts.slices[by].values())
    if largest < least:
        said = f"no slice of {p.suite} by {by!r} has {least} items; the largest has {largest}"
        act = f"set min_items to {largest} or less, or add items"
        yield refuse(use.title, at("model", use, "slices", "min_items"), said, act)


def _people(policy: Policy) -> Iterator[Finding]:
    a, where = policy.approval, ("approval", "reviewers")
    if not policy.reviewers:
        always = a.when == "always"
        said = (
            "every promotion asks for a person, and there are no reviewers"
            if always
            else "there are no reviewers: nobody can approve what is held, or sign a waiver"
        )
        act = "name a file of reviewers under approval.reviewers"
        yield (refuse if always else warn)("approval", where, said, act)
        return
    able = [r for r in policy.reviewers if {*r.roles} & {*a.roles}]
    if len(able) < a.quorum:
        roles = ", ".join(a.roles)
        said = f"quorum: {a.quorum}, and {len(able)} of the reviewers are {roles}"
        act = "lower the quorum, or add reviewers with that role"
        yield refuse("approval", ("approval", "quorum"), said, act)


def _budget(policy: Policy, suites: dict[str, SuiteFacts]) -> Iterator[Finding]:
    allowed = policy.budget.eval_items
    if allowed is None:
        return
    sizes = [suites[name].n or 0 for name in policy.suites() if name in suites]
    chunk = policy.statistics.sequential.chunk
    # A suite that may not stop early is measured whole or counts for nothing.
    first = sum(min(chunk, n) for n in sizes) if policy.escalates else sum(sizes)
    where = ("budget", "eval_items")
    if allowed < first:
        what = "a first look at every suite" if policy.escalates else "measuring the suites"
        said = f"eval_items: {allowed:,}, and {what} takes {first:,}: every update is held"
        yield refuse("budget", where, said, f"allow {first:,} or more")
    elif allowed < sum(sizes):
        said = f"eval_items: {allowed:,}, and the suites have {sum(sizes):,} items"
        act = "allow them all, or expect what stays unclear to be held"
        yield warn("budget", where, said, act)


def _proof(policy: Policy) -> Iterator[Finding]:
    proof = policy.proof
    if proof is None:
        said = "there is no proof: a gate that was never seen to block is decoration"
        act = "add proof: with must_block and must_pass, and run `tidegate policy prove`"
        yield warn("proof", ("proof",), said, act)
        return
    fixtures = fixtures_for(use.gate for use in (*policy.data, *policy.model))
    for key, named, expected in (
        ("must_block", proof.must_block, "block"),
        ("must_pass", proof.must_pass, "pass"),
    ):
        left_out = sorted({f for f, e in fixtures.items() if e == expected} - set(named))
        if left_out:
            said = f"{key} leaves out {', '.join(left_out)}"
            yield warn("proof", ("proof", key), said, f"add what this policy should {key[5:]}")
