"""Lanes: what a gateway signed is trusted once, and the rest up to a cap that nobody steers."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.checking import arrived, chat, checked, plain, policy
from tidegate.flows import learned
from tidegate.flows.check import check
from tidegate.flows.gateway import keys
from tidegate.flows.gateway.sign import SigningKey, sign_response
from tidegate.flows.home import Home
from tidegate.flows.intake.batches import LATER, OLDER, load_batch
from tidegate.gates.types import Action, Outcome

KEY, STRANGER = SigningKey(bytes(range(32))), SigningKey(b"x" * 32)
AUTHENTIC = (
    "  - {{gate: authentic_responses, quarantine: true, max_quarantined_share: 1, {}, why: t}}"
)
OPEN = AUTHENTIC.format("max_forged_share: 1")


def capped(share: float) -> str:
    return AUTHENTIC.format(f"max_low_trust_share: {share}")


def signed(row: dict[str, Any], key: SigningKey = KEY) -> dict[str, Any]:
    row = {"model": "m@4", **row}
    *before, last = row["messages"]
    signature = sign_response(
        key,
        record_id=row["id"],
        messages=before,
        response=last["content"],
        model=row["model"],
    )
    return {**row, "signature": signature}


def trusting(folder: Path) -> Path:
    keys.trust(Home(folder / "home"), KEY.public)
    return folder


def verdict(result: Any, gate: str = "authentic_responses") -> Any:
    return next(r.verdict for r in result.rulings if r.gate == gate)


def lanes(result: Any) -> dict[str, int]:
    names = ("signed", "edited", "unsigned", "repeated", "forged")
    return {name: int(result.evidence[f"data.lane.{name}"].value) for name in names}


def test_each_record_is_in_its_lane(tmp_path: Path) -> None:
    good = [signed(row) for row in plain(20)]
    other = signed(chat(50, "Is it open?", "Until ten."))
    forged = [
        {**other, "id": "another-id"},
        {**other, "id": "another-user-and-id", "user": "mallory"},
        {**signed(chat(51, "Is it open?", "No.")), "model": "m@5"},
        {
            **signed(chat(52, "Is it open?", "No.")),
            "messages": chat(0, "Is it open?", "Yes.")["messages"],
        },
        signed(chat(53, "And now?", "No."), STRANGER),
        {**chat(54, "And then?", "No."), "signature": "tidegate1"},
    ]
    corrected = {"correction": "Until eleven."}
    rows = [
        *good,
        other,
        *forged,
        {**signed(chat(60, "Open on Monday?", "No.")), "feedback": corrected},
        {**signed(chat(61, "And Tuesday?", "Until eleven.")), "feedback": corrected},
        chat(62, "On Wednesday?", "Yes."),
    ]
    result, said, kept = checked(trusting(tmp_path), rows, OPEN)
    assert lanes(result) == {
        "signed": 22, "edited": 1, "unsigned": 1, "repeated": 0, "forged": len(forged)
    }  # fmt: skip
    assert set(said) - set(kept) == {row["id"] for row in forged}
    assert result.decision.action is Action.PROMOTE
    assert result.evidence["data.forged_share"].value == pytest.approx(len(forged) / len(rows))


def test_masking_does_not_break_a_signature(tmp_path: Path) -> None:
    data = "  - {gate: no_personal_data, mask: true, why: t}\n" + capped(0)
    secret = signed(chat(900, "I am ann@example.org, is it open?", "Yes."))
    result, said, kept = checked(
        trusting(tmp_path), [*(signed(row) for row in plain(20)), secret], data
    )
    assert said["r0900"]["action"] == "mask" and "ann@" not in kept["r0900"]
    assert result.decision.action is Action.PROMOTE and len(kept) == 21


def test_low_trust_is_kept_up_to_its_share_in_an_order_of_the_home(tmp_path: Path) -> None:
    rows = [signed(row) for row in plain(40)] + plain(40, start=100)
    chosen = []
    for name in ("one", "two", "two"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        result, _, kept = checked(trusting(folder), rows, capped(0.2))
        assert verdict(result).outcome is Outcome.PASS
        assert {f"r{n:04d}" for n in range(40)} <= kept.keys()
        chosen.append(frozenset(kept))
        assert len(kept) == 50  # ten of low trust to forty signed: one fifth
    assert chosen[1] == chosen[2], "the same home chooses the same again"
    assert chosen[0] != chosen[1], "the batch alone does not tell which"


@pytest.mark.parametrize(
    ("keys_there", "rows", "gate", "passes"),
    [
        (False, plain(20), AUTHENTIC.format("max_low_trust_share: 1"), True),
        (False, plain(20), capped(0.9), False),
        (True, plain(20), capped(0.9), False),
        (True, [signed(row) for row in plain(20)], capped(0), True),
        (False, [signed(row) for row in plain(20)], capped(0.9), False),
        (False, [signed(row) for row in plain(20)], AUTHENTIC.format("max_low_trust_share: 1"), False),
    ],
)  # fmt: skip
def test_without_a_gateway_a_cap_is_never_met_in_silence(
    tmp_path: Path, keys_there: bool, rows: list[dict[str, Any]], gate: str, passes: bool
) -> None:
    if keys_there:
        trusting(tmp_path)
    result, _, _ = checked(tmp_path, rows, gate)
    assert (result.decision.action is Action.PROMOTE) is passes
    if not passes and not keys_there and "0.9" in gate:
        assert "no gateway is trusted" in verdict(result).reason


def test_many_forgeries_fail_the_batch(tmp_path: Path) -> None:
    rows = [signed(row, STRANGER if n < 2 else KEY) for n, row in enumerate(plain(40))]
    result, _, kept = checked(
        trusting(tmp_path), rows, AUTHENTIC.format("max_forged_share: 0.04")
    )
    assert verdict(result).outcome is Outcome.FAIL and len(kept) == 38


def test_a_good_signature_counts_once(tmp_path: Path) -> None:
    """The record of an earlier update comes back, as another user's."""
    first = [signed(row) for row in plain(20)]
    home, out, batch = arrived(trusting(tmp_path), first)
    learned.remember(home, batch.digest, home.batch(batch.digest) / "records.parquet")
    again = check(batch, policy(tmp_path, capped(0)), home=home, arrived=out, out=out)
    assert lanes(again)["repeated"] == 0, "the same batch is judged as before"

    rows = [{**first[0], "user": "mallory"}, *(signed(row) for row in plain(20, start=200))]
    result, _, kept = checked(tmp_path, rows, capped(0))
    assert lanes(result) == {
        "signed": 20, "edited": 0, "unsigned": 0, "repeated": 1, "forged": 0
    }  # fmt: skip
    assert first[0]["id"] not in kept and len(kept) == 20


def test_a_batch_of_an_older_version_is_read_and_has_its_name(tmp_path: Path) -> None:
    home, out, batch = arrived(tmp_path, plain(20))
    path = home.batch(batch.digest) / "records.parquet"
    pq.write_table(pq.read_table(path).drop_columns(sorted(LATER)), path)
    assert pq.read_schema(path).equals(OLDER)
    assert load_batch(home, batch.digest, thorough=True) == batch
    forbids = "  - {gate: within_caps, max_per_author: 1, quarantine: true, why: t}\n" + OPEN
    result = check(batch, policy(tmp_path, forbids), home=home, arrived=out, out=out)
    assert result.decision.action is Action.PROMOTE
    assert lanes(result)["unsigned"] == 20


def test_a_signature_is_part_of_a_batchs_name(tmp_path: Path) -> None:
    names = []
    for n, rows in enumerate(
        [plain(3), [signed(r) for r in plain(3)], [signed(r, STRANGER) for r in plain(3)]]
    ):
        (tmp_path / str(n)).mkdir()
        home, _, batch = arrived(tmp_path / str(n), rows)
        assert load_batch(home, batch.digest, thorough=True) == batch
        names.append(batch.digest)
    assert len(set(names)) == 3
