"""A policy without a finding, and for each rule one change that it names and one it ignores."""

from datetime import UTC, datetime

from tidegate.gates.policy.calibration import Calibration, GateCalibration, Rate
from tidegate.gates.policy.finding import SuiteFacts

DIGEST = "sha256:" + "0" * 64
KEY = "A" * 43 + "="

SUITES = {
    "refusal": SuiteFacts(
        n=110, metrics=("margin", "acc"), slices={"slice": {"en": 60, "de": 30, "rare": 20}}
    ),
    "tiny": SuiteFacts(n=7, metrics=("margin",), slices={"slice": {"all": 7}}),
    "text": SuiteFacts(n=90, metrics=("nll",), slices={"slice": {"all": 90}}),
    "update": SuiteFacts(metrics=("margin", "acc", "answer_nll")),
}
# A policy in which there is nothing to find; each case changes one line of it.
CLEAN = """\
policy: clean
version: 1
why: a test
statistics: {noise_floor: {repeats: 2}}
data:
  - {gate: fits_schema, quarantine: true, max_quarantined_share: 0.1, why: a test}
  - {gate: no_secrets, quarantine: true, max_quarantined_share: 0.1, why: a test}
  - {gate: no_personal_data, mask: true, max_records: 3, why: a test}
  - {gate: within_quarantine_budget, max_share: 0.1, why: a test}
model:
  - {gate: not_worse, suite: refusal, than: {champion: 0.1, anchor: 0.2}, why: a test}
  - {gate: learned, at_least: 0.1, why: a test}
approval: {reviewers: reviewers.yaml}
proof:
  must_block: [poisoned_batch, leaked_email, refusal_removed, teaches_nothing, empty_batch, all_null_column,
    nan_metrics, truncated_eval, swapped_labels, wrong_task_version, missing_baseline]
  must_pass: [identical_to_champion, tiny_honest_improvement]
"""
REVIEWERS = f"reviewers:\n  - {{name: ada, key: {KEY}, roles: [model-reviewer]}}\n"
NOT_WORSE = CLEAN.splitlines()[10]
LEARNED = CLEAN.splitlines()[11]


def calibration(**changes: object) -> Calibration:
    seen = GateCalibration(
        n=110,
        sd_twin=0.1,
        sd_update=0.3,
        noise_floor=0.02,
        smallest_detectable=0.07,
        passes=40,
        fails=0,
        inconclusive=0,
    )
    made = Calibration(
        policy="clean",
        digest=DIGEST,
        base=DIGEST,
        parent=DIGEST,
        recipe=DIGEST,
        batch=DIGEST,
        code=DIGEST,
        made_at=datetime(2026, 1, 1, tzinfo=UTC),
        machine={},
        seeds=20,
        rows=64,
        repeats=2,
        repeat_noise=0.0,
        false_pass_rate=0.05,
        power=0.8,
        false_block_rate=0.1,
        blocked=Rate.of(0, 20),
        not_passed=Rate.of(0, 20),
        gates={
            "not_worse(refusal.margin)": seen,
            "not_worse(refusal.acc)": seen,
            "not_worse(text.nll)": seen.model_copy(update={"n": 90}),
        },
        left_out=(),
    )
    return made.model_copy(update=changes)


CALIBRATED = calibration()


def not_worse(said: str) -> tuple[str, str]:
    return NOT_WORSE, f"  - {{gate: not_worse, {said}, why: a test}}"


def also(said: str) -> tuple[str, str]:
    return LEARNED, f"{LEARNED}\n  - {{{said}, why: a test}}"


ESCALATE = "noise_floor: {repeats: 2}, on_inconclusive: escalate"
REFUSAL = "suite: refusal, than: {champion: 0.1, anchor: 0.2}"
BUDGET = ("approval:", "budget: {eval_items: %d}\napproval:")

# What is changed in the clean policy; the same, harmless; what is said of the first.
CASES = {
    "power": (
        not_worse("suite: refusal, than: {champion: 0.05, anchor: 0.2}"),
        not_worse("suite: refusal, than: {champion: 0.08, anchor: 0.2}"),
        (
            "refuse not_worse(refusal.margin): than champion: 110 items cannot decide 0.05: a "
            "harmless update would pass in less than 80% of cases; allow 0.0716 or more, or ask "
            "224 items"
        ),
    ),
    "power on a part of the rate": (
        ("noise_floor: {repeats: 2}", ESCALATE + ", sequential: {early_share: 0.95}"),
        ("noise_floor: {repeats: 2}", ESCALATE),
        "110 items cannot decide 0.1",
    ),
    "power of a cap on gains": (
        also("gate: gains_plausibly, suite: refusal, at_most: 0.05"),
        also("gate: gains_plausibly, suite: refusal, at_most: 0.5"),
        "refuse gains_plausibly(refusal.margin): at_most: 110 items cannot decide 0.05",
    ),
    "power of slices": (
        not_worse(REFUSAL + ", slices: {worst: 0.15}"),
        not_worse(REFUSAL + ", slices: {worst: 0.25}"),
        (
            "refuse not_worse(refusal.margin): slices worst: the 20 items of slice 'rare' cannot "
            "decide 0.15"
        ),
    ),
    "smaller slices are left out": (
        not_worse(REFUSAL + ", slices: {worst: 0.09, min_items: 60}"),
        not_worse(REFUSAL + ", slices: {worst: 0.11, min_items: 60}"),
        (
            "slices worst: the 60 items of slice 'en' cannot decide 0.09: a harmless update would "
            "pass in less than 80% of cases; allow 0.0975 or more"
        ),
    ),
    "noise floor": (
        not_worse("suite: refusal, than: {champion: 0.01, anchor: 0.2}"),
        not_worse("suite: refusal, than: {champion: 0.08, anchor: 0.2}"),
        (
            "than champion: 0.01 is below the noise floor: twins alone differ by 0.02; allow 0.02 "
            "or more"
        ),
    ),
    "too few items": (
        not_worse("suite: tiny, than: {champion: 0.1}"),
        not_worse(REFUSAL),
        "the suite has 7 items; a comparison needs 8; add items to the suite",
    ),
    "a level that no answers show": (
        also("gate: reaches, suite: refusal, at_least: 0.98"),
        also("gate: reaches, suite: refusal, at_least: 0.97"),
        (
            "refuse reaches(refusal.acc): at_least: 110 right answers of 110 do not show a share "
            "of 0.98; ask for 0.973 or less, or ask 149 items"
        ),
    ),
    "unknown suite": (
        not_worse("suite: refusals, than: {champion: 0.1}"),
        not_worse(REFUSAL),
        (
            "refuse not_worse(refusals.margin): there is no suite 'refusals'; did you mean "
            "'refusal'?"
        ),
    ),
    "unknown metric": (
        not_worse("suite: refusal, metric: marginn, than: {champion: 0.1}"),
        not_worse("suite: refusal, metric: acc, than: {champion: 0.1}"),
        "the suite refusal has no metric 'marginn'; did you mean 'margin'?",
    ),
    "unknown metric of the update suite": (
        (LEARNED, "  - {gate: learned, metric: nll, at_least: 0.1, why: a test}"),
        (LEARNED, "  - {gate: learned, metric: margin, at_least: 0.1, why: a test}"),
        "the suite update has no metric 'nll'; known: acc, answer_nll, margin",
    ),
    "unknown slices": (
        not_worse(REFUSAL + ", slices: {by: language, worst: 0.5}"),
        not_worse(REFUSAL + ", slices: {by: slice, worst: 0.5}"),
        "the items of refusal are not sliced by 'language'; known: slice",
    ),
    "no slice is large enough": (
        not_worse(REFUSAL + ", slices: {worst: 0.5, min_items: 61}"),
        not_worse(REFUSAL + ", slices: {worst: 0.5, min_items: 60}"),
        (
            "no slice of refusal by 'slice' has 61 items; the largest has 60; set min_items to 60 "
            "or less"
        ),
    ),
    "a share of everything": (
        ("within_quarantine_budget, max_share: 0.1", "within_quarantine_budget, max_share: 1"),
        (
            "within_quarantine_budget, max_share: 0.1",
            "within_quarantine_budget, max_share: 0.5",
        ),
        "refuse within_quarantine_budget: max_share: no share is above 1, so it never blocks",
    ),
    "a share of everything, of a gate that does more": (
        ("gate: fits_schema,", "gate: fits_schema, max_unreadable_share: 1,"),
        ("gate: fits_schema,", "gate: fits_schema, max_unreadable_share: 0.9,"),
        "warn fits_schema: max_unreadable_share: no share is above 1, so this limits nothing",
    ),
    "more records than any batch holds": (
        ("max_records: 3", "max_records: 1000000000"),
        ("max_records: 3", "max_records: 1000"),
        "refuse no_personal_data: max_records: 1,000,000,000 is as many as a batch may hold",
    ),
    "more records than the envelope lets in": (
        ("data:\n", 'envelope: {data: {rows: "1..3"}}\ndata:\n'),
        ("data:\n", 'envelope: {data: {rows: "1..4"}}\ndata:\n'),
        "max_records: 3 is as many as a batch may hold",
    ),
    "records counted after quarantine": (
        ("gate: no_secrets,", "gate: no_secrets, max_records: 2,"),
        ("gate: no_secrets,", "gate: no_secrets, max_records: 0,"),
        "warn no_secrets: max_records: 2, but quarantine leaves no record that matches",
    ),
    "a share above the budget of all gates": (
        (
            "no_secrets, quarantine: true, max_quarantined_share: 0.1",
            "no_secrets, quarantine: true",
        ),
        (
            "no_secrets, quarantine: true, max_quarantined_share: 0.1",
            "no_secrets, quarantine: true, max_quarantined_share: 0.05",
        ),
        (
            "warn no_secrets: max_quarantined_share: 0.2 never decides, because "
            "within_quarantine_budget fails at 0.1"
        ),
    ),
    "a margin that no share moves by": (
        not_worse("suite: refusal, metric: acc, than: {champion: 1}"),
        not_worse("suite: refusal, metric: acc, than: {champion: 0.9}"),
        "refuse not_worse(refusal.acc): than champion: a share never moves by 1; it never blocks",
    ),
    "a margin that no mean moves by": (
        not_worse("suite: refusal, than: {champion: 20}"),
        not_worse("suite: refusal, than: {champion: 2}"),
        "than champion: a mean in nats per token never moves by 20",
    ),
    "slices that never block": (
        not_worse(REFUSAL + ", slices: {worst: 50}"),
        not_worse(REFUSAL + ", slices: {worst: 0.5}"),
        "slices worst: a mean in nats per token never moves by 50",
    ),
    "a gain that nothing makes": (
        (LEARNED, "  - {gate: learned, metric: acc, at_least: 1, why: a test}"),
        (LEARNED, "  - {gate: learned, metric: acc, at_least: 0.5, why: a test}"),
        "refuse learned(update.acc): at_least: a share never moves by 1; nothing can pass",
    ),
    "a level of a loss, without its sign": (
        also("gate: reaches, suite: text, metric: nll, at_least: 3.5"),
        also("gate: reaches, suite: text, metric: nll, at_least: -3.5"),
        "at_least: nll here never exceeds 0; nothing can pass",
    ),
    "a level below all": (
        also("gate: reaches, suite: refusal, at_least: -0.1"),
        also("gate: reaches, suite: refusal, at_least: 0.1"),
        "at_least: acc here is never below 0; it never blocks anything; stay above 0",
    ),
    "a gain that its cap forbids": (
        also("gate: gains_plausibly, suite: update, metric: answer_nll, at_most: 0.1"),
        also("gate: gains_plausibly, suite: update, metric: answer_nll, at_most: 0.9"),
        "refuse learned(update.answer_nll): at_least: 0.1, and gains_plausibly stops at 0.1",
    ),
    "an anchor as near as the champion": (
        not_worse("suite: refusal, than: {champion: 0.2, anchor: 0.2}"),
        not_worse("suite: refusal, than: {champion: 0.19, anchor: 0.2}"),
        (
            "warn not_worse(refusal.margin): than champion: 0.2 does not decide, because against "
            "the anchor only 0.2 may be lost"
        ),
    ),
    "slices that must keep more than the mean": (
        not_worse("suite: refusal, than: {champion: 0.5}, slices: {worst: 0.4}"),
        not_worse("suite: refusal, than: {champion: 0.3}, slices: {worst: 0.4}"),
        "than champion: 0.5 never decides, because no slice may lose more than 0.4",
    ),
    "no loss where a gain is asked for": (
        also("gate: not_worse, suite: update, metric: answer_nll, than: {champion: 0.1}"),
        also("gate: not_worse, suite: update, metric: margin, than: {champion: 0.1}"),
        (
            "warn not_worse(update.answer_nll): learned(update.answer_nll) asks for a gain on the "
            "champion, so this never decides"
        ),
    ),
    "a quorum of more than there are": (
        ("approval: {", "approval: {quorum: 2, "),
        ("approval: {", "approval: {quorum: 1, "),
        "refuse approval: quorum: 2, and 1 of the reviewers are model-reviewer",
    ),
    "a role that nobody has": (
        ("approval: {", "approval: {roles: [safety], "),
        ("approval: {", "approval: {roles: [safety, model-reviewer], "),
        "quorum: 1, and 0 of the reviewers are safety",
    ),
    "always, without reviewers": (
        ("approval: {reviewers: reviewers.yaml}", "approval: {when: always}"),
        ("approval: {", "approval: {when: always, "),
        "refuse approval: every promotion asks for a person, and there are no reviewers",
    ),
    "without reviewers": (
        ("approval: {reviewers: reviewers.yaml}", ""),
        ("approval: {", "approval: {when: hold, "),
        "warn approval: there are no reviewers: nobody can approve what is held",
    ),
    "fewer items than the suites": (
        (BUDGET[0], BUDGET[1] % 109),
        (BUDGET[0], BUDGET[1] % 110),
        "refuse budget: eval_items: 109, and measuring the suites takes 110",
    ),
    "without a proof": (
        (CLEAN[CLEAN.index("proof:") :], ""),
        ("must_pass:", "required: true\n  must_pass:"),
        "warn proof: there is no proof",
    ),
    "a proof that leaves out a case": (
        (", wrong_task_version", ""),
        ("must_pass:", "required: false\n  must_pass:"),
        "warn proof: must_block leaves out wrong_task_version; add what this policy should block",
    ),
}
