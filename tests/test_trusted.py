"""A trusted batch: what it excuses, what it never excuses, and what must be there to count."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trusting import (
    DOMAIN,
    GARDEN,
    GATES,
    SHOP,
    chats,
    few_authors,
    home_of,
    judged,
    marked,
    ruling,
    trust,
)
from tidegate.flows.trusting.store import Trusted, load_trusted, place
from tidegate.flows.usage import UsageError
from tidegate.gates.policy.calibration import CalibrationError
from tidegate.gates.types import Action

WEEK = chats(200, 1000)
HOURS = "We open at nine in the morning on all days of the week."
CLEAN = [
    *chats(240, 0),
    *marked(chats(7, 500), "dynamite"),
    *marked(chats(7, 510), "arsenic"),
    *few_authors(marked(chats(7, 520), "gelignite"), 2),
    *marked(chats(10, 530), "", HOURS),
]
BOMB = marked(chats(30, 2000), "dynamite")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trusted]:
    """A home in which CLEAN is trusted."""
    folder = tmp_path_factory.mktemp("shop")
    return folder, trust(folder, CLEAN)


def lost(fates: dict[str, str], start: int) -> int:
    return sum(
        a == "quarantine" for i, a in fates.items() if start <= int(i[1:]) < start + 1000
    )


def test_what_the_trusted_batch_has_too_is_not_news_and_all_else_is(
    shop: tuple[Path, Trusted],
) -> None:
    folder, known = shop
    turned = marked(chats(30, 3000), "arsenic", "Ring this number, they sell it at night.")
    by_two = marked(chats(30, 4000), "gelignite")  # known from two accounts only
    rows = [*WEEK, *BOMB, *turned, *by_two]
    for trusted, expected in ((None, (30, 30, 30)), (known, (0, 30, 30))):
        _, fates = judged(folder, rows, trusted)
        assert tuple(lost(fates, start) for start in (2000, 3000, 4000)) == expected


def test_what_was_quarantined_of_the_trusted_batch_is_learned_after_a_review_only(
    tmp_path: Path,
) -> None:
    poisoned = [*chats(200, 0), *marked(chats(30, 500), "dynamite")]
    for reviewed, rows, expected in ((False, 200, 30), (True, 230, 0)):
        known = trust(tmp_path, poisoned, reviewed=reviewed)
        assert known.about.rows == rows
        assert lost(judged(tmp_path, [*WEEK, *BOMB], known)[1], 2000) == expected


def test_a_flood_is_excused_by_an_answer_that_is_known_and_no_more_frequent(
    shop: tuple[Path, Trusted],
) -> None:
    folder, known = shop
    data = "  - {gate: no_floods, quarantine: true, max_quarantined_share: 1, why: t}"

    def flood(said: str, count: int, start: int) -> list[dict[str, Any]]:
        return few_authors(marked(chats(count, start), "", said), 2)

    rows = [
        *WEEK,
        *flood(HOURS, 10, 2000),
        *flood("We moved to another town, write to us there from now on.", 10, 3000),
        *flood(HOURS.replace("nine", "ten"), 10, 4000),  # nearly known: may be the opposite
    ]
    for trusted, expected in ((None, (10, 10, 10)), (known, (0, 10, 10))):
        _, fates = judged(folder, rows, trusted, data)
        assert tuple(lost(fates, start) for start in (2000, 3000, 4000)) == expected
    _, fates = judged(folder, [*WEEK, *flood(HOURS, 40, 2000)], known, data)
    assert lost(fates, 2000) == 40  # known, but much more often than before


def weak(strong: float) -> str:
    return (GATES % "").replace("why: t}", f"strong: {strong}, why: t}}", 1)


@pytest.mark.parametrize(
    ("words", "strong", "gone", "outcome"),
    [
        (GARDEN, 200, 0, "inconclusive"),  # another domain, weak evidence: a person looks
        (GARDEN, 8, 20, "pass"),  # another domain, strong evidence: quarantined
        (SHOP, 200, 20, "pass"),  # the domain is known: quarantined
    ],
)
def test_weak_evidence_of_an_unseen_domain_is_held_and_not_eaten(
    shop: tuple[Path, Trusted], words: list[str], strong: float, gone: int, outcome: str
) -> None:
    rows = [*WEEK, *marked(chats(20, 2000, words), "zorblat", " ".join(words[:6]))]
    folder, known = shop
    checked, fates = judged(folder, rows, known, weak(strong))
    assert lost(fates, 2000) == gone
    assert ruling(checked, "no_triggers")[0] == outcome
    action = Action.HOLD if outcome == "inconclusive" else Action.PROMOTE
    assert checked.decision.action is action


@pytest.mark.parametrize(("share", "action"), [(0.1, Action.HOLD), (0.5, Action.PROMOTE)])
def test_a_new_domain_past_its_share_waits_for_a_person(
    shop: tuple[Path, Trusted], share: float, action: Action
) -> None:
    folder, known = shop
    data = GATES % "" + DOMAIN % f"{share}, on_fail: hold"
    checked, fates = judged(folder, [*WEEK, *chats(50, 2000, GARDEN)], known, data)
    assert checked.decision.action is action
    assert set(fates.values()) == {"keep"}  # nobody is refused for being new


@pytest.mark.parametrize("data", [GATES % ", trusted: required", GATES % "" + DOMAIN % 1.0])
def test_a_policy_that_asks_for_a_trusted_batch_does_not_pass_without(
    shop: tuple[Path, Trusted], data: str
) -> None:
    folder, known = shop
    checked, _ = judged(folder, WEEK, None, data)
    assert checked.decision.action is not Action.PROMOTE
    assert any("--trusted" in r.verdict.reason for r in checked.rulings)
    assert judged(folder, WEEK, known, data)[0].decision.action is Action.PROMOTE


def test_the_evidence_names_the_batch_the_calibration_and_the_limit(
    shop: tuple[Path, Trusted],
) -> None:
    folder, known = shop
    checked, _ = judged(folder, WEEK, known)
    said = checked.evidence["data.no_triggers.hits"].settings
    assert said == {
        "trusted": known.about.batch, "calibration": known.calibration, "limit": "10",
    }  # fmt: skip
    again, _ = judged(folder, WEEK, load_trusted(home_of(folder), known.about.batch))
    assert again.evidence == checked.evidence


def test_a_batch_cannot_vouch_for_itself(shop: tuple[Path, Trusted]) -> None:
    folder, known = shop
    with pytest.raises(UsageError, match="vouch for itself"):
        judged(folder, CLEAN, known)


def test_what_was_never_calibrated_is_a_usage_error(tmp_path: Path) -> None:
    for name in ("sha256:" + "0" * 64, "../../etc", "latest"):
        with pytest.raises(UsageError, match="calibrate-data"):
            load_trusted(home_of(tmp_path), name)


def _other_limit(folder: Path) -> None:
    path = folder / "nulls.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "usual": 7}))


def _other_sketches(folder: Path) -> None:
    path = folder / "known.npz"
    data = dict(np.load(path))
    data["pairs"] = np.arange(1000, dtype=np.uint64)
    np.savez(path, **data)


def _objects(folder: Path) -> None:
    np.savez(folder / "known.npz", words=np.array([{}], dtype=object))


def _cut(folder: Path) -> None:
    (folder / "known.npz").write_bytes(b"")


def _other_key(folder: Path) -> None:
    (folder.parents[1] / "keys" / "pseudonym.key").write_bytes(b"x" * 32)


@pytest.mark.parametrize("change", [_other_limit, _other_sketches, _objects, _cut, _other_key])
def test_changed_files_are_refused(
    shop: tuple[Path, Trusted], tmp_path: Path, change: Any
) -> None:
    folder, known = shop
    for part in ("trusted", "keys"):
        shutil.copytree(folder / "home" / part, tmp_path / "home" / part)
    assert load_trusted(home_of(tmp_path), known.about.batch).about == known.about
    change(place(home_of(tmp_path), known.about.batch))
    with pytest.raises(CalibrationError):
        load_trusted(home_of(tmp_path), known.about.batch)


def test_the_files_hold_no_text_and_are_the_same_again(shop: tuple[Path, Trusted]) -> None:
    home, known = shop
    folder = place(home_of(home), known.about.batch)
    before = [(p.name, p.read_bytes()) for p in sorted(folder.iterdir())]
    assert [name for name, _ in before] == ["known.npz", "nulls.json"]
    assert all(p.stat().st_mode & 0o077 == 0 for p in folder.iterdir())
    with np.load(folder / "known.npz", allow_pickle=False) as arrays:
        assert {a.dtype.kind for a in arrays.values()} <= {"u", "i"}
    assert trust(home, CLEAN).calibration == known.calibration
    assert [(p.name, p.read_bytes()) for p in sorted(folder.iterdir())] == before
