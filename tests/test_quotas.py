"""Tiers of trust, text an author, and what an author taught before."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.checking import checked, plain
from tests.test_authenticity import signed, trusting, verdict
from tidegate.flows import learned
from tidegate.flows.home import Home
from tidegate.flows.intake.pseudonym import pseudonym
from tidegate.gates.checks.within_quotas import Quota
from tidegate.gates.signals import authenticity
from tidegate.gates.signals.prints import Prints
from tidegate.gates.signals.quotas import Members, Quotas
from tidegate.gates.tighter import loosened
from tidegate.gates.types import Outcome

QUOTAS = "  - {{gate: within_quotas, quarantine: true, max_quarantined_share: 1, {}, why: t}}"
ALL = "tiers: [{name: all}]"


def by(user: str, *rows: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**row, "user": user} for row in rows]


def test_a_tier_has_its_share_and_an_author_his_part_of_it(tmp_path: Path) -> None:
    tiers = """tiers: [
      {name: staff, sources: [desk]},
      {name: known, lanes: [signed]},
      {name: others, max_share: 0.25, max_per_author: 2}]"""
    staff = [{**row, "source": "desk"} for row in plain(10)]
    known = [signed(row) for row in plain(20, start=100)]
    loud = by("loud", *plain(10, start=200))
    others = plain(10, start=300)
    result, said, kept = checked(
        trusting(tmp_path), [*staff, *known, *loud, *others], QUOTAS.format(tiers)
    )
    assert verdict(result, "within_quotas").outcome is Outcome.PASS
    assert sum(row["id"] in kept for row in staff + known) == 30
    assert sum(row["id"] in kept for row in loud) <= 2
    low = sum(row["id"] in kept for row in loud + others)
    assert low == 10, "a quarter of forty, whatever one author sends"
    details = {r["detail"] for row in said.values() for r in row["reasons"]}
    assert "the tier others has more than its share" in details


def test_a_record_of_no_tier_is_not_learned(tmp_path: Path) -> None:
    rows = [*plain(20), {**plain(1, start=90)[0], "source": "elsewhere"}]
    _, _, kept = checked(tmp_path, rows, QUOTAS.format("tiers: [{name: a, sources: [chat]}]"))
    assert len(kept) == 20 and "r0090" not in kept


def test_an_authors_text_and_lifetime_are_bounded(tmp_path: Path) -> None:
    limits = f"{ALL}, max_tokens_per_author: 100, max_lifetime_per_author: 3"
    wordy = by("wordy", *plain(3))
    for row in wordy:  # 'user: ' and 194 bytes are 50 tokens, the answer makes it more
        row["messages"][0]["content"] = (row["id"] + "x" * 200)[:194]
    regular = by("regular", *plain(5, start=50))
    home = Home(tmp_path / "home")
    earlier = tmp_path / "earlier.parquet"
    known = pseudonym(b"k" * 32, "regular")
    pq.write_table(pa.table({"user": [known, known], "id": ["old-1", "old-2"]}), earlier)
    learned.remember(home, "sha256:" + "1" * 64, earlier)
    _, _, kept = checked(
        tmp_path, [*wordy, *regular, *plain(20, start=100)], QUOTAS.format(limits)
    )
    assert sum(row["id"] in kept for row in wordy) == 1
    assert sum(row["id"] in kept for row in regular) == 1
    assert sum(name >= "r0100" for name in kept) == 20


def test_what_was_learned_is_noted_once_and_forgotten_on_request(tmp_path: Path) -> None:
    home, kept = Home(tmp_path / "home"), tmp_path / "kept.parquet"
    digests = ["sha256:" + digit * 64 for digit in "12"]
    assert learned.learned_before(home, digests[0]).by_author == {}
    for n, digest in enumerate(digests):
        pq.write_table(
            pa.table({"user": ["u_a", "u_a", "u_b"], "id": [f"{n}{i}" for i in "abc"]}), kept
        )
        path = learned.remember(home, digest, kept)
        assert learned.remember(home, digest, tmp_path / "not read again") == path
        assert path.stat().st_mode & 0o777 == 0o600
    assert learned.learned_before(home, "sha256:other").by_author == {"u_a": 4, "u_b": 2}
    first = learned.learned_before(home, digests[1])
    assert first.by_author == {"u_a": 2, "u_b": 1}
    assert [first.knows(name) for name in ("0a", "0c", "1a", "")] == [True, True, False, False]
    assert learned.forget(home, ["u_a", "u_nobody"]) == 4
    rest = learned.learned_before(home, "sha256:other")
    assert rest.by_author == {"u_b": 2} and not rest.knows("0a") and rest.knows("0c")
    assert learned.forget(home, ["u_a"]) == 0


def test_what_is_noted_names_nobody(tmp_path: Path) -> None:
    home, kept = Home(tmp_path / "home"), tmp_path / "kept.parquet"
    pq.write_table(pa.table({"user": ["u_a"], "id": ["mail-of-ann@example.org"]}), kept)
    noted = pq.read_table(learned.remember(home, "sha256:" + "1" * 64, kept))
    assert noted.column_names == ["user", "record"] and "ann" not in str(noted.to_pylist())


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"tiers": []}, "at least 1"),
        ({"tiers": [{"name": "a"}, {"name": "a"}]}, "one name"),
        ({"tiers": [{"name": "a", "max_share": 0.5}, {"name": "b", "max_share": 0.4}]}, "less"),
        ({"tiers": [{"name": "a b"}]}, "pattern"),
        ({"tiers": [{"name": "a", "lanes": ["forged"]}]}, "signed"),
        ({"tiers": [{"name": "a"}], "mask": True}, "cannot be masked"),
    ],
)
def test_quotas_that_cannot_be_met_are_refused(said: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Quota.model_validate(said)


A: dict[str, Any] = {"name": "a", "max_share": 0.8, "max_per_author": 5}
B: dict[str, Any] = {"name": "b"}


@pytest.mark.parametrize(
    ("child", "allowed"),
    [
        ([A, B], True),
        ([{**A, "max_share": 0.5}, B], True),
        ([A, {**B, "max_per_author": 9}], True),
        ([{**A, "max_share": 0.9}, B], False),
        ([{**A, "max_per_author": None}, B], False),
        ([{**A, "max_per_author": 6}, B], False),
        ([{**A, "sources": ["x"]}, B], False),
        ([B, A], False),
        ([B], False),
        ([A, B, {"name": "c"}], False),
    ],
)
def test_a_child_policy_only_lowers_the_limits_of_tiers(
    child: list[dict[str, Any]], allowed: bool
) -> None:
    parent, other = (
        Quota.model_validate({"tiers": [A, B]}),
        Quota.model_validate({"tiers": child}),
    )
    assert (loosened(parent, other) is None) is allowed


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 1.0, 2.0, float("nan")]),
            st.integers(0, 3),
            st.integers(0, 40).map(float) | st.just(float("nan")),
        ),
        max_size=30,
    ),
    st.sampled_from([0.1, 0.25, 0.5]),
    st.randoms(use_true_random=False),
)
def test_whatever_passes_a_limit_is_within_it(
    made: list[tuple[float, int, float]], cap: float, random: Any
) -> None:
    """For each limit: what its column lets through, taken alone, obeys it."""
    tier, author, tokens = (np.array(part) for part in zip(*made, strict=True)) if made else (
        np.empty(0), np.empty(0, dtype=int), np.empty(0)
    )  # fmt: skip
    rows = len(tier)
    order = np.array(random.sample(range(10**6), rows), dtype=np.uint64)
    prints = Prints(order, author.astype(np.uint64), *(order,) * 3, np.empty((rows, 0)))
    quotas = Quotas((Members("a", None, None), Members("b", None, None)), {})
    columns = {"tier": tier, "tokens": tokens.astype(np.float32), "author_before": author * 1.0}
    found = quotas.counted(columns, prints)
    inside = found["tier_b_share"] <= np.float32(cap)
    assert (inside & (tier == 1)).sum() <= cap * inside.sum() + 1e-6
    ranked = (tier == 0) & (found["tier_a_author_rank"] <= 2)
    text = found["author_tokens"] <= 50
    lifetime = found["author_lifetime"] <= 4
    assert not (text & np.isnan(tokens)).any()
    for one in set(author):
        mine = author == one
        assert (ranked & mine).sum() == min(2, ((tier == 0) & mine).sum())
        assert np.nansum(tokens[mine & text]) <= 50
        assert (mine & lifetime).sum() == max(0, min(4 - one, mine.sum()))
    share = authenticity.counted(tier, prints)["low_trust_share"] <= np.float32(cap)
    assert (share & (tier > 0)).sum() <= cap * share.sum() + 1e-6
    assert not (share & np.isnan(tier)).any() and share[tier == 0].all()
