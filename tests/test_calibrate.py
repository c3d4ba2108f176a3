"""A/A runs: what is made of their measurements, and the file that keeps it."""

import json
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tidegate.flows.calibrating.pairs import calibrated, gate_calibration, judged_alike
from tidegate.flows.calibrating.run import Calibrated
from tidegate.flows.calibrating.show import show_calibrated
from tidegate.flows.calibrating.twins import Measured
from tidegate.gates.digest import digest_bytes
from tidegate.gates.policy.calibration import (
    Calibration,
    CalibrationError,
    GateCalibration,
    Rate,
    calibration_path,
    read_calibration,
)
from tidegate.gates.policy.load import load_policy
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.statistics.power import smallest_visible_loss
from tidegate.gates.types import Measurement, Outcome

POLICY = """\
policy: tiny
version: 1
why: a test
statistics: {false_block_rate: 0.10, noise_floor: {repeats: 2}}
data:
  - {gate: fits_schema, min_rows: 20, why: an empty drop is an outage}
model:
  - gate: not_worse
    suite: facts
    than: {champion: 5.0, anchor: 5.0}
    why: the mechanism, not the margin, is under test
  - {gate: learned, at_least: 0.05, why: left out}
  - {gate: serves, why: left out}
"""
TITLE = "not_worse(facts.margin)"
N = 24
DIGEST = digest_bytes(b"x")


def gate(**changes: Any) -> GateCalibration:
    made: dict[str, Any] = {
        "n": 110,
        "sd_twin": 0.1,
        "sd_update": 0.2,
        "noise_floor": 0.02,
        "smallest_detectable": 0.05,
        "passes": 3,
        "fails": 0,
        "inconclusive": 0,
    }
    return GateCalibration(**{**made, **changes})


def calibration(blocked: int = 0, pairs: int = 20) -> Calibration:
    return Calibration(
        policy="tiny",
        digest=DIGEST,
        base=DIGEST,
        parent=DIGEST,
        recipe=DIGEST,
        batch=DIGEST,
        code=DIGEST,
        made_at=datetime(2026, 11, 23, tzinfo=UTC),
        machine={"device": "cpu", "dtype": "float32"},
        seeds=pairs,
        rows=48,
        repeats=2,
        repeat_noise=0.0,
        false_pass_rate=0.05,
        power=0.8,
        false_block_rate=0.10,
        blocked=Rate.of(blocked, pairs),
        not_passed=Rate.of(blocked, pairs),
        gates={TITLE: gate()},
        left_out=("serves",),
    )


def result(blocked: int = 0) -> Calibrated:
    return Calibrated(
        calibration=calibration(blocked),
        path=Path("tiny.calibration.json"),
        recipe="tiny",
        epochs=2,
        seconds={"check": 1.0, "train a twin": 60.0, "measure a twin": 90.0},
    )


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [  # Clopper & Pearson (1934); the zero row is 1 - 0.025 ** (1 / 20)
        (0, 20, 0.0, 0.1684),
        (1, 20, 0.0013, 0.2487),
        (2, 20, 0.0123, 0.3170),
        (20, 20, 0.8316, 1.0),
    ],
)
def test_a_rate_has_the_exact_interval(hits: int, n: int, low: float, high: float) -> None:
    rate = Rate.of(hits, n)
    assert (rate.low, rate.high) == pytest.approx((low, high), abs=5e-5)
    assert rate.share == hits / n


@pytest.mark.parametrize(("blocked", "code"), [(0, 0), (2, 0), (3, 2)])
def test_the_point_estimate_decides_the_exit_code(blocked: int, code: int) -> None:
    assert result(blocked).exit_code == code


def test_no_file_is_no_calibration(tmp_path: Path) -> None:
    assert read_calibration(tmp_path / "p.yaml") is None


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    policy = tmp_path / "p.yaml"
    calibration_path(policy).write_text(calibration().model_dump_json(indent=2))
    assert calibration_path(policy).name == "p.calibration.json"
    assert read_calibration(policy) == calibration()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("not json", "file"),
        ("{}", "policy"),
        ({"seeds": "20"}, "seeds"),
        ({"seeds": 0}, "seeds"),
        ({"gates": {}}, "gates"),
        ({"made_at": "2026-11-23T00:00:00"}, "made_at"),
        ({"repeat_noise": "NaN"}, "repeat_noise"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_damaged_file_is_an_error_and_not_an_absence(
    tmp_path: Path, change: str | dict[str, Any], named: str
) -> None:
    policy = tmp_path / "p.yaml"
    if isinstance(change, dict):
        change = json.dumps({**json.loads(calibration().model_dump_json()), **change})
    calibration_path(policy).write_text(change)
    with pytest.raises(CalibrationError, match=rf"p\.calibration\.json: .*{named}"):
        read_calibration(policy)


def test_a_folder_in_its_place_is_an_error(tmp_path: Path) -> None:
    policy = tmp_path / "p.yaml"
    calibration_path(policy).mkdir()
    with pytest.raises(CalibrationError, match="cannot be read"):
        read_calibration(policy)


def test_the_table_says_what_was_trained_and_found() -> None:
    out = StringIO()
    show_calibrated(Console(file=out, width=90), result(blocked=3))
    text = out.getvalue()
    for said in (
        "21 twins learned 48 rows in 2 epochs",
        TITLE,
        "3 of 20 (15%)",
        "95 % interval 3.2% to 37.9%; the policy allows 10%",
        "not calibrated: serves",
        "53 minutes in all",  # 21 twins of 150 s, and the check
    ):
        assert said in text, text


# What is made of measurements.


def policy_of(folder: Path, text: str = POLICY) -> Policy:
    path = folder / "p.yaml"
    path.write_text(text)
    return load_policy(path)


def measured_as(name: str, values: list[float], metric: str = "margin") -> Measured:
    said = Measurement(
        name=f"facts.{metric}",
        value=sum(values) / len(values),
        n=len(values),
        items=tuple(f"i{k}" for k in range(len(values))),
        values=tuple(values),
        settings={"suite": "same"},
    )
    return Measured(model=digest_bytes(name.encode()), measurements=(said,), seconds=1.0)


def alternating(mean: float, step: float) -> list[float]:
    return [mean + step * (-1) ** k for k in range(N)]


def test_only_gates_that_compare_and_ask_for_no_gain_are_calibrated(tmp_path: Path) -> None:
    more = "  - {gate: not_worse, suite: update, metric: answer_nll, than: {champion: 1.0}, why: t}\n"
    assert list(calibrated(policy_of(tmp_path, POLICY + more))) == [TITLE]


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        (alternating(0.0, 0.1), Outcome.PASS),
        (alternating(-5.0, 3.0), Outcome.INCONCLUSIVE),
        (alternating(-9.0, 0.1), Outcome.FAIL),
    ],
)
def test_a_pair_is_judged_by_the_policys_own_gate(
    tmp_path: Path, change: list[float], outcome: Outcome
) -> None:
    before, now = measured_as("a", [0.0] * N), measured_as("b", change)
    policy = policy_of(tmp_path)
    assert judged_alike(policy, [TITLE], [(now, before)]) == [{TITLE: outcome}]


def test_a_parent_policy_rules_too(tmp_path: Path) -> None:
    policy_of(tmp_path)
    child = tmp_path / "child.yaml"
    child.write_text("policy: child\nversion: 1\nwhy: a test\nextends: p.yaml\n")
    pair = (measured_as("b", alternating(-9.0, 0.1)), measured_as("a", [0.0] * N))
    assert judged_alike(load_policy(child), [TITLE], [pair]) == [{TITLE: Outcome.FAIL}]


@pytest.mark.parametrize("values", [[0.0] * 4, [0.0] * (N - 1)])
def test_a_gate_that_cannot_judge_makes_no_calibration(
    tmp_path: Path, values: list[float]
) -> None:
    before = measured_as("a", [0.0] * (4 if len(values) == 4 else N))
    with pytest.raises(CalibrationError, match=r"not_worse\(facts\.margin\)"):
        judged_alike(policy_of(tmp_path), [TITLE], [(measured_as("b", values), before)])


def test_spreads_noise_and_power_of_a_gate(tmp_path: Path) -> None:
    parent = measured_as("p", [0.0] * N)
    one = measured_as("one", alternating(0.2, 1.0))
    other = measured_as("other", alternating(0.1, 0.5))
    again = measured_as("p", [0.03] * N)
    policy = policy_of(tmp_path)
    found = gate_calibration(
        policy,
        calibrated(policy)[TITLE],
        pairs=[(other, one)],
        outcomes=[Outcome.PASS],
        update=(other, parent),
        repeats=[(again, parent)],
    )
    scale = (N / (N - 1)) ** 0.5  # the sample's standard deviation of +1 and -1
    assert found.n == N
    assert found.sd_twin == pytest.approx(0.5 * scale)
    assert found.sd_update == pytest.approx(0.5 * scale)
    assert found.noise_floor == pytest.approx(0.1)
    assert found.smallest_detectable == pytest.approx(
        smallest_visible_loss(0.5 * scale, N, alpha=0.05, power=0.8)
    )
    assert (found.passes, found.fails, found.inconclusive) == (1, 0, 0)


def test_of_right_and_wrong_answers_the_discordant_share_is_the_spread(tmp_path: Path) -> None:
    text = POLICY.replace("suite: facts", "suite: facts\n    metric: acc")
    policy = policy_of(tmp_path, text.replace("5.0", "0.5"))
    parent = measured_as("p", [1.0] * N, "acc")
    twin = measured_as("t", [0.0] * 6 + [1.0] * (N - 6), "acc")
    found = gate_calibration(
        policy,
        calibrated(policy)["not_worse(facts.acc)"],
        pairs=[(twin, parent)],
        outcomes=[Outcome.PASS],
        update=(twin, parent),
        repeats=[(parent, parent)],
    )
    assert found.sd_update == pytest.approx(0.5)  # a quarter of the pairs


def test_a_policy_that_escalates_judges_whole_suites_on_a_part_of_its_rate(
    tmp_path: Path,
) -> None:
    quick = POLICY.replace("noise_floor", "on_inconclusive: escalate, noise_floor")
    found = []
    for text in (POLICY, quick):
        policy = policy_of(tmp_path, text)
        parent, twin = measured_as("p", [0.0] * N), measured_as("t", alternating(0.1, 1.0))
        found.append(
            gate_calibration(
                policy,
                calibrated(policy)[TITLE],
                pairs=[(twin, parent)],
                outcomes=[Outcome.PASS],
                update=(twin, parent),
                repeats=[(parent, parent)],
            ).smallest_detectable
        )
    assert found[0] < found[1]
