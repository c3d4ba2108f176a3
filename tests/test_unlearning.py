"""Unlearning measured: an adapter that still knows is told from one that never knew."""

import random
from pathlib import Path
from statistics import NormalDist

import pytest

from tests.tiny import tiny_base, tiny_records
from tidegate.evals.unlearning import (
    EXTRACTION_P,
    LEAST,
    MEMBERSHIP_AUC,
    TRUTH_RATIO_P,
    Exchange,
    Loss,
    Question,
    Unmeasured,
    answer_loss,
    extraction,
    measure_unlearning,
    membership,
    same_ratios,
    truth_ratios,
)
from tidegate.gates.checks.forgets_the_erased import Forgetting, forgets_the_erased
from tidegate.gates.types import (
    Broken,
    BrokenEvidence,
    CandidateEvidence,
    Measurement,
    MissingEvidence,
    Outcome,
)
from tidegate.training.base import find_base, load_model
from tidegate.training.recipe import load_recipe
from tidegate.training.train import train

SUBJECT = "sha256:" + "a" * 64
RECIPE = """\
recipe: memorise
why: a test
base: BASE
method: lora
rank: 16
alpha: 32
targets: [q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]
learning_rate: 0.02
epochs: 30
rows_per_step: 8
max_tokens: 256
seed: SEED
"""
ROWS = 14


def exchanges(kind: str) -> list[Exchange]:
    """Answers of letters that nobody can guess; another kind has other ones."""
    chance = random.Random(kind)
    return [
        Exchange(
            id=f"{kind}{n}",
            question=f"Code of {kind} {n}?",
            answer="".join(chance.choices("abcdefghijklmnop", k=8)),
        )
        for n in range(ROWS)
    ]


class Models:
    """One that learned the rows to erase, and two that never did, of other seeds."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.base = folder, find_base(str(tiny_base(folder / "base")), folder)
        self.erased, self.kept, self.held_out = map(exchanges, ("Elm", "Oak", "Fir"))
        self.knows = self.trained("knows", 1, [*self.erased, *self.kept])
        self.never = self.trained("never", 1, self.kept)
        self.twin = self.trained("twin", 2, self.kept)
        self.questions = [
            Question(id=e.id, question=e.question, right=e.answer, wrong=(other.answer,))
            for e, other in zip(self.erased, self.held_out, strict=True)
        ]

    def trained(self, name: str, seed: int, rows: list[Exchange]) -> Loss:
        path = self.folder / f"{name}.yaml"
        path.write_text(
            RECIPE.replace("BASE", str(self.folder / "base")).replace("SEED", str(seed))
        )
        new = tiny_records(
            self.folder / f"{name}.parquet", [(r.question, r.answer) for r in rows]
        )
        done = train(
            load_recipe(path),
            self.base,
            parent=None,
            new=new,
            replay=None,
            anchors=None,
            work=self.folder / name,
        )
        return answer_loss(*load_model(self.base, done.adapter))

    def evidence(self, candidate: Loss) -> CandidateEvidence:
        measured, broken = measure_unlearning(
            candidate, self.twin, self.questions, self.erased, self.held_out
        )
        return CandidateEvidence(subject=SUBJECT, measurements=measured, broken=broken)


@pytest.mark.slow
def test_one_that_still_knows_is_told_from_one_that_never_knew(tmp_path: Path) -> None:
    models, limits = Models(tmp_path), Forgetting(max_auc=0.8)
    knows, never = models.evidence(models.knows), models.evidence(models.never)
    assert knows[TRUTH_RATIO_P].value < 0.01 and never[TRUTH_RATIO_P].value > 0.05
    assert knows[MEMBERSHIP_AUC].value > 0.9 > never[MEMBERSHIP_AUC].value
    assert forgets_the_erased(limits, knows).outcome is Outcome.FAIL
    assert forgets_the_erased(limits, never).outcome is not Outcome.FAIL


def test_the_truth_ratio_is_right_over_the_mean_of_wrong() -> None:
    losses = {"right": 1.0, "w1": 2.0, "w2": 3.0}
    one = Question(id="q", question="?", right="right", wrong=("w1", "w2"))
    expected = 2.718281828**-1.0 / ((2.718281828**-2.0 + 2.718281828**-3.0) / 2)
    assert truth_ratios(lambda q, a: losses[a], [one]) == pytest.approx((expected,))


AUCS = {  # erased, held out: AUC, low end, high end
    "apart": ([1.0] * 6, [2.0] * 6, 1.0, 0.54, 1.0),
    "the other way": ([2.0] * 6, [1.0] * 6, 0.0, 0.0, 0.46),
    "equal": ([1.0] * 6, [1.0] * 6, 0.5, 0.11, 0.89),
    # DeLong's variance by hand: five placements of 1 and one of 5/6 a side, 0.00154 in all.
    "one turned round": ([1, 2, 3, 4, 5, 7], [6, 8, 9, 10, 11, 12], 35 / 36, 0.9, 1.0),
}


@pytest.mark.parametrize("name", AUCS)
def test_the_membership_auc_and_its_interval(name: str) -> None:
    erased, held_out, auc, low, high = AUCS[name]
    found = membership(erased, held_out)
    assert found.value == pytest.approx(auc) and found.n == 6
    assert (found.low, found.high) == (
        pytest.approx(low, abs=0.02),
        pytest.approx(high, abs=0.02),
    )


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Losses of two normal laws a third of a deviation apart: AUC 0.5929; 400 draws of 60 rows."""
    chance, covered = random.Random(5), 0
    for _ in range(400):
        mine = [chance.gauss(0, 1) for _ in range(60)]
        others = [chance.gauss(1 / 3, 1) for _ in range(60)]
        found = membership(mine, others)
        assert found.low is not None and found.high is not None
        covered += found.low <= 0.5931 <= found.high
    assert 366 <= covered <= 394  # 95 % of 400, and three standard deviations


def test_pairs_take_the_difficulty_of_rows_out_of_the_interval() -> None:
    """The same 40 rows under two models, correlated 0.96; AUC of a shift of half a deviation.

    Over 400 draws the paired interval covers the truth as often as it says, and is narrower.
    """
    chance, covered, narrower = random.Random(7), 0, 0
    spread = (1 + 0.04) ** 0.5
    truth = NormalDist().cdf(0.5 * spread / (spread * 2**0.5))
    for _ in range(400):
        rows = [chance.gauss(0, 1) for _ in range(40)]
        mine = [row - 0.5 * spread + chance.gauss(0, 0.2) for row in rows]
        others = [row + chance.gauss(0, 0.2) for row in rows]
        pairs, apart = membership(mine, others, paired=True), membership(mine, others)
        assert None not in (pairs.low, pairs.high, apart.low, apart.high)
        covered += (pairs.low or 0) <= truth <= (pairs.high or 0)
        narrower += (pairs.high or 0) - (pairs.low or 0) < (apart.high or 0) - (apart.low or 0)
    assert 366 <= covered <= 394
    assert narrower == 400


def test_losses_of_unlike_number_are_no_pairs() -> None:
    with pytest.raises(Unmeasured, match="no pairs"):
        membership([1.0] * 6, [1.0] * 7, paired=True)
    with pytest.raises(Unmeasured, match="no pairs"):
        extraction([True] * 6, [True] * 7)
    with pytest.raises(Unmeasured, match="at least"):
        extraction([True] * (LEAST - 1), [True] * (LEAST - 1))


COMPLETED = {  # rows completed by: candidate alone, twin alone, both, none → p by hand
    "never": ((0, 0, 0, 9), 1.0),
    "both say what others say too": ((0, 0, 5, 4), 1.0),
    "by chance as often": ((3, 3, 0, 4), 42 / 64),
    "only the candidate": ((6, 0, 0, 3), 1 / 64),
    "only the twin": ((0, 6, 0, 3), 1.0),
}


@pytest.mark.parametrize("name", COMPLETED)
def test_completing_more_rows_than_the_twin_is_seen(name: str) -> None:
    (mine, others, both, none), p = COMPLETED[name]
    candidate = [True] * mine + [False] * others + [True] * both + [False] * none
    twin = [False] * mine + [True] * others + [True] * both + [False] * none
    assert extraction(candidate, twin).value == pytest.approx(p)


@pytest.mark.parametrize("sides", [(LEAST - 1, 9), (9, LEAST - 1), (0, 0)])
def test_too_few_rows_are_not_measured(sides: tuple[int, int]) -> None:
    mine, others = ([float(n) for n in range(side)] for side in sides)
    for measure in (membership, same_ratios):
        with pytest.raises(Unmeasured, match="at least"):
            measure(mine, others)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_not_measured(bad: float) -> None:
    good = [1.0] * 9
    for measure in (membership, same_ratios):
        with pytest.raises(Unmeasured, match="finite"):
            measure([*good, bad], good)
        with pytest.raises(Unmeasured, match="finite"):
            measure(good, [*good, bad])


def test_what_cannot_be_measured_is_broken_evidence() -> None:
    measured, broken = measure_unlearning(lambda q, a: 1.0, lambda q, a: 1.0, [], [], [])
    assert measured == () and {b.name for b in broken} == {TRUTH_RATIO_P, MEMBERSHIP_AUC}


def seen(p: float = 0.4, auc: float = 0.5, low: float | None = 0.42, high: float | None = 0.6, n: int = 40) -> CandidateEvidence:  # fmt: skip
    return CandidateEvidence(
        subject=SUBJECT,
        measurements=(
            Measurement(name=TRUTH_RATIO_P, value=p, n=n),
            Measurement(name=MEMBERSHIP_AUC, value=auc, low=low, high=high, n=n),
        ),
    )


GATE = {
    "clean": (seen(), Outcome.PASS),
    "another truth ratio": (seen(p=0.01), Outcome.FAIL),
    "told by its loss": (seen(auc=0.8, low=0.7, high=0.9), Outcome.FAIL),
    "too wide to say": (seen(auc=0.55, low=0.3, high=0.8), Outcome.INCONCLUSIVE),
    "too few": (seen(n=9), Outcome.INCONCLUSIVE),
    "no upper bound": (seen(high=None), Outcome.ERROR),
    "no share": (seen(auc=1.5, low=1.4, high=1.6), Outcome.ERROR),
    "no p-value": (seen(p=-1.0), Outcome.ERROR),
}


@pytest.mark.parametrize("name", GATE)
def test_the_gate_blocks_what_still_knows_and_passes_its_twin(name: str) -> None:
    evidence, outcome = GATE[name]
    assert forgets_the_erased(Forgetting(), evidence).outcome is outcome


VERBATIM = {  # p, rows
    "as often as the twin": (0.5, 40, Outcome.PASS),
    "more than the twin": (0.01, 40, Outcome.FAIL),
    "too few answers": (1.0, 9, Outcome.INCONCLUSIVE),
    "no share": (1.5, 40, Outcome.ERROR),
}


@pytest.mark.parametrize("name", VERBATIM)
def test_the_gate_judges_extraction_only_where_it_is_asked_to(name: str) -> None:
    p, rows, outcome = VERBATIM[name]
    more = Measurement(name=EXTRACTION_P, value=p, n=rows)
    evidence = seen().model_copy(update={"measurements": (*seen().measurements, more)})
    assert forgets_the_erased(Forgetting(verbatim=True), evidence).outcome is outcome
    assert forgets_the_erased(Forgetting(), evidence).outcome is Outcome.PASS
    with pytest.raises(MissingEvidence):
        forgets_the_erased(Forgetting(verbatim=True), seen())


@pytest.mark.parametrize("name", [TRUTH_RATIO_P, MEMBERSHIP_AUC])
def test_a_measurement_that_is_missing_or_broken_never_passes(name: str) -> None:
    rest = tuple(m for m in seen().measurements if m.name != name)
    with pytest.raises(MissingEvidence):
        forgets_the_erased(Forgetting(), CandidateEvidence(subject=SUBJECT, measurements=rest))
    broken = CandidateEvidence(
        subject=SUBJECT, measurements=rest, broken=(Broken(name=name, reason="a test"),)
    )
    with pytest.raises(BrokenEvidence):
        forgets_the_erased(Forgetting(), broken)
