"""Great Expectations as second judge: what it would let pass in silence, and what it shows."""

from pathlib import Path

import numpy as np
import pytest

from tests.checking import policy
from tidegate.gates.expectations import Judged, judge_kept
from tidegate.gates.routing import RowGate, row_gates
from tidegate.gates.types import Broken, Measurement

NAN = float("nan")


def gates(folder: Path, data: str) -> tuple[RowGate, ...]:
    return row_gates(policy(folder, data).data)


def secrets(
    folder: Path, *numbers: float, max_records: int = 0, docs: Path | None = None
) -> Judged:
    text = f"  - {{gate: no_secrets, max_records: {max_records}, why: t}}"
    column = np.array(numbers, dtype=np.float32)
    return judge_kept(gates(folder, text), {"secrets": column}, len(numbers), docs=docs)


@pytest.mark.parametrize(
    ("numbers", "left", "success"),
    [
        ((0, 0, 0), 0, True),
        ((0, 1, 3), 2, False),
        ((0, NAN, 0), 1, False),
        ((NAN, NAN, NAN), 3, False),
    ],
)
def test_hits_are_counted_and_a_null_is_a_hit(
    tmp_path: Path, numbers: tuple[float, ...], left: int, success: bool
) -> None:
    judged = secrets(tmp_path, *numbers)
    measured = judged.left["no_secrets"]
    assert isinstance(measured, Measurement)
    assert (measured.name, measured.value, measured.n) == ("data.no_secrets.left", left, 3)
    assert judged.success is success


def test_a_record_that_hits_two_rules_counts_once(tmp_path: Path) -> None:
    columns = {
        "bidi_controls": np.array([1, 0, 0], dtype=np.float32),
        "invisible_characters": np.array([2, 0, 1], dtype=np.float32),
        "tag_characters": np.zeros(3, dtype=np.float32),
        "variation_selectors": np.zeros(3, dtype=np.float32),
        "stacked_marks": np.zeros(3, dtype=np.float32),
        "mixed_script_words": np.zeros(3, dtype=np.float32),
    }
    judged = judge_kept(gates(tmp_path, "  - {gate: plain_unicode, why: t}"), columns, 3)
    measured = judged.left["plain_unicode"]
    assert isinstance(measured, Measurement) and measured.value == 2


def test_the_suite_allows_what_the_policy_allows(tmp_path: Path) -> None:
    assert secrets(tmp_path, 0, 1, 0, max_records=1).success
    assert not secrets(tmp_path, 1, 1, 0, max_records=1).success


@pytest.mark.parametrize(
    ("columns", "rows", "why"),
    [
        ({"secrets": np.zeros(0, dtype=np.float32)}, 0, "no record is left"),
        ({}, 3, "not measured"),
    ],
    ids=["nothing left", "no such column"],
)
def test_what_was_not_judged_is_broken(
    tmp_path: Path, columns: dict[str, np.ndarray], rows: int, why: str
) -> None:
    judged = judge_kept(gates(tmp_path, "  - {gate: no_secrets, why: t}"), columns, rows)
    broken = judged.left["no_secrets"]
    assert isinstance(broken, Broken) and why in broken.reason
    assert not judged.success


def test_a_suite_that_breaks_is_broken_evidence(tmp_path: Path) -> None:
    column = np.array(["not", "a", "number"], dtype=object)
    rules = gates(tmp_path, "  - {gate: no_secrets, why: t}")
    numbers = np.zeros(3, dtype=np.float32)

    class Changing(dict[str, np.ndarray]):
        """Numbers for the router, and something else for whoever asks again."""

        asked = 0

        def __getitem__(self, name: str) -> np.ndarray:
            self.asked += 1
            return numbers if self.asked == 1 else column

    judged = judge_kept(rules, Changing(secrets=numbers), 3)
    assert isinstance(judged.left["no_secrets"], Broken)
    assert not judged.success


def test_too_few_rows_fail_the_suite(tmp_path: Path) -> None:
    column = {"secrets": np.zeros(3, dtype=np.float32)}
    wanted = gates(tmp_path, "  - {gate: no_secrets, why: t}")
    assert judge_kept(wanted, column, 3, min_rows=3).success
    assert not judge_kept(wanted, column, 3, min_rows=4).success


def test_the_pages_hold_numbers_and_reach_nobody(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    judged = secrets(tmp_path, 0, 77123, 0, docs=docs)
    assert judged.docs == docs and (docs / "index.html").exists()
    pages = [page.read_text() for page in docs.rglob("*.html")]
    assert any("expect column" in page.lower() or "secrets" in page for page in pages)
    for page in pages:
        assert "77123" not in page  # not even the number that was unexpected
        assert '<script src="http' not in page and 'href="https://cdn' not in page
        assert "url(http" not in page and "url('http" not in page
