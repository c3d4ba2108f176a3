"""The rules of gates/waiver.py: what a waiver does, and every reason for which it does not."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rich.console import Console

from tests.waiver_world import HONESTY, LEARNED, NOW, REFUSAL, SCHEMA, People
from tidegate.flows.signing.envelope import IN_TOTO, add_signature, seal
from tidegate.flows.waiving.waivers import WaiverError, check_offline, show_waiver, sign, write
from tidegate.gates.decide import WORST_FIRST, decide
from tidegate.gates.digest import digest_bytes
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.types import Action, Outcome, Ruling, Verdict
from tidegate.gates.waiver import (
    PAYLOAD_TYPE,
    NotWaivable,
    Waiver,
    redecide,
    refusals,
    unwaivable,
    waive,
)

CANDIDATE = digest_bytes(b"candidate")
SOON = NOW + timedelta(hours=1)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    return People(tmp_path_factory.mktemp("people"))


@pytest.fixture(scope="module")
def policy(people: People) -> Policy:
    return people.policy()


def waiver(rules: Policy, /, **other: Any) -> Waiver:
    return Waiver(
        **{
            "model": "m",
            "version": "2",
            "gate": REFUSAL,
            "candidate": CANDIDATE,
            "policy": rules.digest,
            "reason": "the suite asks about a product that was withdrawn",
            "ticket": "OPS-1",
            "requester": "dora",
            "issued_at": NOW,
            "expires_at": NOW + timedelta(hours=48),
            **other,
        }
    )


def ruling(title: str, action: Action, outcome: Outcome = Outcome.FAIL) -> Ruling:
    verdict = Verdict(outcome=outcome, reason="a test", observed=-0.2, limit=-0.1)
    return Ruling(
        gate=title.split("(")[0], title=title, verdict=verdict, action=action, why="a test"
    )


def reasons(
    given: Waiver,
    policy: Policy,
    *signers: str,
    now: datetime = SOON,
    model: str = "m",
    version: str = "2",
    candidate: str = CANDIDATE,
    unknown: tuple[str, ...] = (),
) -> list[str]:
    known = {reviewer.name: reviewer for reviewer in policy.reviewers}
    return refusals(
        given,
        signers=[known[name] for name in signers],
        unknown=unknown,
        policy=policy,
        model=model,
        version=version,
        candidate=candidate,
        now=now,
    )


# What it does


@pytest.mark.parametrize(
    ("before", "after"), [(Action.REJECT, Action.HOLD), (Action.HOLD, Action.PROMOTE)]
)
@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.INCONCLUSIVE])
def test_one_step_and_the_outcome_stays(
    policy: Policy, before: Action, after: Action, outcome: Outcome
) -> None:
    given = waiver(policy)
    rulings = [ruling(SCHEMA, Action.PROMOTE, Outcome.PASS), ruling(REFUSAL, before, outcome)]
    first, second = waive(rulings, [given])
    assert first == rulings[0]
    assert (second.action, second.waived) == (after, given.digest)
    assert second.verdict == rulings[1].verdict


def test_never_two_steps(policy: Policy) -> None:
    rulings = [ruling(REFUSAL, Action.REJECT)]
    with pytest.raises(NotWaivable, match="never two steps"):
        waive(rulings, [waiver(policy), waiver(policy, ticket="OPS-2")])
    once = waive(rulings, [waiver(policy)])
    with pytest.raises(NotWaivable, match="never two steps"):
        waive(once, [waiver(policy, ticket="OPS-2")])


def test_the_other_rulings_still_decide(policy: Policy) -> None:
    rulings = [ruling(REFUSAL, Action.HOLD), ruling(LEARNED, Action.HOLD)]
    assert redecide(policy, rulings, [waiver(policy)]).action is Action.HOLD
    both = [waiver(policy), waiver(policy, gate=LEARNED)]
    assert redecide(policy, rulings, both).action is Action.PROMOTE


def test_a_waiver_is_no_approval(people: People) -> None:
    careful = people.policy("when: always, valid_for: 72h")
    decision = redecide(careful, [ruling(REFUSAL, Action.HOLD)], [waiver(careful)])
    assert decision.action is Action.HOLD
    assert [r.title for r in decision.rulings if r.action is Action.HOLD] == ["approval"]


@pytest.mark.parametrize("outcome", [Outcome.MISSING, Outcome.ERROR])
@pytest.mark.parametrize("action", [Action.REJECT, Action.HOLD])
def test_evidence_that_was_never_made_cannot_be_waived(
    policy: Policy, outcome: Outcome, action: Action
) -> None:
    rulings = [ruling(REFUSAL, action, outcome)]
    assert "never made" in unwaivable(waiver(policy), rulings)[0]
    with pytest.raises(NotWaivable, match="never made"):
        waive(rulings, [waiver(policy)])


def test_a_waiver_without_its_ruling_is_refused_and_not_left_out(policy: Policy) -> None:
    with pytest.raises(NotWaivable, match="gave 0 rulings"):
        waive([ruling(LEARNED, Action.HOLD)], [waiver(policy)])
    with pytest.raises(NotWaivable, match="nothing to waive"):
        waive([ruling(REFUSAL, Action.PROMOTE, Outcome.PASS)], [waiver(policy)])
    with pytest.raises(NotWaivable, match="gave 2 rulings"):
        waive([ruling(REFUSAL, Action.HOLD)] * 2, [waiver(policy)])


actions = st.sampled_from([Action.REJECT, Action.HOLD, Action.PROMOTE])


@given(st.lists(actions, min_size=1, max_size=4), st.data())
def test_waivers_help_by_one_step_at_most(
    policy: Policy, found: list[Action], data: st.DataObject
) -> None:
    rulings = [
        ruling(f"g{i}", a, Outcome.PASS if a is Action.PROMOTE else Outcome.FAIL)
        for i, a in enumerate(found)
    ]
    failed = [r.title for r in rulings if r.action is not Action.PROMOTE]
    chosen = data.draw(st.sets(st.sampled_from(failed))) if failed else set()
    decision = redecide(policy, rulings, [waiver(policy, gate=g) for g in sorted(chosen)])
    before, after = decide(rulings).action, decision.action
    assert 0 <= WORST_FIRST.index(after) - WORST_FIRST.index(before) <= 1


# When it counts


def test_a_whole_waiver_counts(policy: Policy) -> None:
    assert reasons(waiver(policy), policy, "ada") == []


@pytest.mark.parametrize(
    ("other", "asked", "says"),
    [
        ({}, {"now": NOW + timedelta(hours=48)}, "expired at 2026-11-11 12:00 UTC"),
        ({}, {"now": NOW - timedelta(seconds=1)}, "not valid before 2026-11-09 12:00 UTC"),
        ({}, {"candidate": digest_bytes(b"child")}, "another candidate"),
        ({}, {"candidate": digest_bytes(b"child"), "version": "3"}, "never inherited"),
        ({}, {"version": "3"}, "for version '2', not '3'"),
        ({}, {"model": "n"}, "model line 'm', not 'n'"),
        ({"policy": digest_bytes(b"older")}, {}, "another policy"),
        ({"gate": "not_worse(refusal.acc)"}, {}, "has no gate 'not_worse(refusal.acc)'; did"),
        ({"gate": "*"}, {}, "too broad"),
        ({"gate": "not_worse(*)"}, {}, "too broad"),
        ({"gate": "not_worse(refusal.?argin)"}, {}, "too broad"),
        ({"gate": f"{REFUSAL}, {LEARNED}"}, {}, "too broad"),
        ({"gate": "not_worse"}, {}, "too broad"),
        ({"gate": HONESTY}, {}, "locked by the policy"),
        ({"expires_at": NOW + timedelta(hours=73)}, {}, "lasts 73 h; the policy lets"),
    ],
)
def test_a_waiver_that_does_not_fit_is_refused_with_the_reason(
    policy: Policy, other: Mapping[str, Any], asked: Mapping[str, Any], says: str
) -> None:
    found = reasons(waiver(policy, **other), policy, "ada", **asked)
    assert any(says in reason for reason in found), found


def test_every_reason_is_given_at_once(policy: Policy) -> None:
    bad = waiver(policy, policy=digest_bytes(b"older"), gate=HONESTY)
    assert len(reasons(bad, policy, now=NOW + timedelta(days=9), model="n")) == 5


@pytest.mark.parametrize(
    ("approval", "signers", "requester", "unknown", "says"),
    [
        ("quorum: 1", (), "dora", (), "0 of 1 reviewers signed"),
        ("quorum: 1", (), "dora", ("e" * 64,), "the key eeeeeeeeeeee… is no reviewer's"),
        ("quorum: 1", ("carl",), "dora", (), "'carl' has none of the roles model-reviewer"),
        ("quorum: 2", ("ada",), "dora", (), "1 of 2 reviewers signed"),
        ("quorum: 2", ("ada", "ada"), "dora", (), "1 of 2 reviewers signed"),
        ("quorum: 2", ("ada", "carl"), "dora", ("e" * 64,), "1 of 2 reviewers signed"),
        ("quorum: 1", ("ada",), "ada", (), "'ada' asked for the update and may not sign"),
        ("quorum: 1", ("ada",), " ADA", (), "'ada' asked for the update and may not sign"),
        ("quorum: 1", ("ada", "bob"), "ada", (), "may not sign"),
    ],
)
def test_who_must_have_signed(
    people: People,
    approval: str,
    signers: tuple[str, ...],
    requester: str,
    unknown: tuple[str, ...],
    says: str,
) -> None:
    rules = people.policy(f"{approval}, valid_for: 72h")
    found = reasons(waiver(rules, requester=requester), rules, *signers, unknown=unknown)
    assert any(says in reason for reason in found), found


def test_two_reviewers_are_a_quorum_of_two_whoever_else_signed(people: People) -> None:
    rules = people.policy("quorum: 2, valid_for: 72h")
    assert reasons(waiver(rules), rules, "ada", "bob", "carl", unknown=("e" * 64,)) == []


def test_the_requester_may_sign_where_the_policy_says_so(people: People) -> None:
    rules = people.policy("quorum: 1, not: [], valid_for: 72h")
    assert reasons(waiver(rules, requester="ada"), rules, "ada") == []


def test_a_reviewer_of_another_policy_is_none_of_this_one(
    policy: Policy, people: People
) -> None:
    stranger = policy.reviewers[0].model_copy(update={"key": "A" * 43 + "="})
    found = refusals(
        waiver(policy),
        signers=[stranger],
        unknown=(),
        policy=policy,
        model="m",
        version="2",
        candidate=CANDIDATE,
        now=SOON,
    )
    assert "'ada' is no reviewer of this policy" in found[0]


def test_without_reviewers_nobody_can_waive(policy: Policy) -> None:
    alone = policy.model_copy(update={"reviewers": ()})
    assert "names no reviewers" in reasons(waiver(alone), alone)[0]


@pytest.mark.parametrize(
    "other",
    [
        {"reason": ""},
        {"ticket": "  "},
        {"requester": ""},
        {"gate": ""},
        {"candidate": "sha256:short"},
        {"expires_at": NOW},
        {"issued_at": datetime(2026, 11, 9)},
        {"gates": [REFUSAL, LEARNED]},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_waiver_without_its_parts_is_none(policy: Policy, other: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        waiver(policy, **other)


def test_one_waiver_has_one_spelling_and_one_digest(policy: Policy) -> None:
    given = waiver(policy)
    assert Waiver.parse(given.payload) == given
    spaced = json.dumps(json.loads(given.payload), sort_keys=True).encode()
    twice = given.payload.replace(b'{"', b'{"ticket":"OPS-0","', 1)
    for other in (spaced, twice, given.payload + b" "):
        with pytest.raises(ValueError, match="canonical"):
            Waiver.parse(other)


# As files


def test_a_signed_file_counts_and_needs_no_home(policy: Policy, people: People) -> None:
    given = waiver(policy)
    data = seal(given.payload, PAYLOAD_TYPE, people.signers["ada"], people.signers["eve"])
    found = check_offline(data, Path("w.json"), policy, SOON)
    assert (found.state, found.exit_code, found.signers) == ("counts", 0, ("ada",))
    late = check_offline(data, Path("w.json"), policy, NOW + timedelta(days=3))
    assert (late.state, late.exit_code) == ("expired", 1)


def test_a_second_person_signs_the_same_words(people: People, tmp_path: Path) -> None:
    rules, path = people.policy("quorum: 2, valid_for: 72h"), tmp_path / "w.json"
    given = waiver(rules)
    write(path, seal(given.payload, PAYLOAD_TYPE, people.signers["ada"]))
    alone = check_offline(path.read_bytes(), path, rules, SOON)
    assert alone.reasons == ("1 of 2 reviewers signed it",)
    assert sign(path, people.signers["bob"]) == given
    both = check_offline(path.read_bytes(), path, rules, SOON)
    assert (both.state, set(both.signers)) == ("counts", {"ada", "bob"})
    assert both.digest == alone.digest


def test_a_damaged_file_is_refused_as_that(
    policy: Policy, people: People, tmp_path: Path
) -> None:
    data = seal(waiver(policy).payload, PAYLOAD_TYPE, people.signers["ada"])
    # Another signature than the one over these words, well written.
    foreign = json.loads(seal(b"{}", PAYLOAD_TYPE, people.signers["ada"]))["signatures"]
    patched = {**json.loads(data), "signatures": foreign}
    swapped = json.dumps(patched, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    for bad, says in ((data[:-20], "no DSSE envelope"), (swapped, "does not fit")):
        found = check_offline(bad, tmp_path / "w.json", policy, SOON)
        assert found.exit_code == 1
        assert says in found.reasons[0]


def test_a_right_key_under_another_payload_type_signs_no_waiver(
    policy: Policy, people: People
) -> None:
    statement = seal(waiver(policy).payload, IN_TOTO, people.signers["ada"])
    found = check_offline(statement, Path("w.json"), policy, SOON)
    assert (found.state, found.waiver) == ("refused", None)
    assert "wanted is" in found.reasons[0]
    relabelled = statement.replace(IN_TOTO.encode(), PAYLOAD_TYPE.encode())
    found = check_offline(relabelled, Path("w.json"), policy, SOON)
    assert "does not fit" in found.reasons[0]


@pytest.mark.parametrize("payload", [b"", b"{}", b"[]", b'{"model":"m"}', b"\xff"])
def test_an_envelope_of_something_else_is_no_waiver(
    policy: Policy, people: People, tmp_path: Path, payload: bytes
) -> None:
    data = seal(payload, PAYLOAD_TYPE, people.signers["ada"])
    found = check_offline(data, Path("w.json"), policy, SOON)
    assert found.reasons == ("the envelope's content is no waiver",)
    write(tmp_path / "w.json", data)
    with pytest.raises(WaiverError, match="no waiver"):
        sign(tmp_path / "w.json", people.signers["bob"])


def test_signing_keeps_the_signatures_of_others(policy: Policy, people: People) -> None:
    one = seal(waiver(policy).payload, PAYLOAD_TYPE, people.signers["ada"])
    two = add_signature(one, PAYLOAD_TYPE, people.signers["bob"])
    assert len(json.loads(two)["signatures"]) == 2


def test_what_a_waiver_says_cannot_play_tricks_on_a_terminal(policy: Policy) -> None:
    console = Console(file=StringIO(), width=200)
    show_waiver(console, waiver(policy, reason="\x1b[2J[bold]fine[/]\u202e"))
    assert isinstance(console.file, StringIO)
    shown = console.file.getvalue()
    assert "\x1b" not in shown and "\u202e" not in shown
    assert "[bold]fine[/]" in shown
