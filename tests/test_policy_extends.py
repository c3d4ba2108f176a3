"""A child policy inherits, tightens, and never decides better than its parent or its floor."""

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.test_decide import better, evidence
from tidegate.gates.decide import decide, judge
from tidegate.gates.policy.load import PolicyError, load_policy
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.types import Action, CandidateEvidence, Measurement

BASELINE = Path(__file__).parent / "policies" / "parents" / "baseline.yaml"
SHIPPED = Path(__file__).parents[1] / "policies"
SUBJECT = "sha256:" + "c" * 64


def write(folder: Path, text: str, name: str = "child.yaml") -> Path:
    (folder / name).write_text(text)
    return folder / name


def child(folder: Path, text: str = "") -> Policy:
    head = f"policy: child\nversion: 1\nwhy: a test\nextends: {BASELINE}\n"
    return load_policy(write(folder, head + text))


def test_what_a_child_does_not_say_is_as_in_its_parent(tmp_path: Path) -> None:
    parent, same = load_policy(BASELINE), child(tmp_path)
    for section in ("data", "model", "statistics", "envelope", "approval", "budget", "proof"):
        assert getattr(same, section) == getattr(parent, section)
    assert same.parent == parent
    assert same.digest != parent.digest


def test_a_child_tightens_what_it_says_and_keeps_the_rest(tmp_path: Path) -> None:
    tight = child(
        tmp_path,
        "model:\n"
        "  - {gate: not_worse, suite: refusal, than: {champion: 0.05}, on_fail: reject}\n"
        "  - {gate: learned, at_least: 0.1, why: new here}\n"
        'envelope: {recipe: {rank: "8..16"}}\n',
    )
    refusal, learned = tight.model
    assert refusal.params.model_dump()["than"] == {"champion": 0.05, "anchor": 0.2}
    assert refusal.on_fail is Action.REJECT
    assert refusal.why == "refusals may not erode"
    assert learned.title == "learned(update.answer_nll)"
    assert tight.envelope is not None and str(tight.envelope.recipe.rank) == "8.0..16.0"
    assert tight.envelope.recipe.methods == ("anchored", "lora")


def test_a_change_in_a_parent_is_another_policy(tmp_path: Path) -> None:
    parent = write(tmp_path, BASELINE.read_text(), "parent.yaml")
    text = "policy: child\nversion: 1\nwhy: a test\nextends: parent.yaml\n"
    before = load_policy(write(tmp_path, text)).digest
    # The child says nothing of it, and no gate changes: it is the parent that also rules.
    parent.write_text(parent.read_text().replace("why: what every child", "why: what a child"))
    assert load_policy(tmp_path / "child.yaml").digest != before


def test_a_policy_cannot_stand_on_itself(tmp_path: Path) -> None:
    head = "policy: loop\nversion: 1\nwhy: a test\nextends: "
    write(tmp_path, head + "b.yaml", "a.yaml")
    write(tmp_path, head + "a.yaml", "b.yaml")
    with pytest.raises(PolicyError, match=r"b.yaml:4: extends: a.yaml stands on this file"):
        load_policy(tmp_path / "a.yaml")


def test_a_parent_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "policy: p\nversion: 1\nwhy: a test\nextends: none.yaml\n")
    with pytest.raises(PolicyError, match=r"child.yaml:4: extends: there is no file .*none"):
        load_policy(path)


def test_a_mistake_in_a_parent_is_named_in_the_parent(tmp_path: Path) -> None:
    write(tmp_path, "policy: p\nversion: one\nwhy: a test\n", "parent.yaml")
    path = write(tmp_path, "policy: c\nversion: 1\nwhy: a test\nextends: parent.yaml\n")
    with pytest.raises(PolicyError, match=r"parent.yaml:2: version"):
        load_policy(path)


def test_an_empty_section_is_no_way_to_drop_what_a_parent_asks(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"child.yaml:5: envelope: is empty"):
        child(tmp_path, "envelope:\n")


def key(byte: int) -> str:
    return base64.b64encode(bytes([byte] * 32)).decode()


PEOPLE = "reviewers:\n  - {{name: ada, key: {}, roles: [model-reviewer]}}\n"


def test_reviewers_are_part_of_the_digest(tmp_path: Path) -> None:
    write(tmp_path, PEOPLE.format(key(1)), "reviewers.yaml")
    text = BASELINE.read_text().replace("quorum: 2", "quorum: 2, reviewers: reviewers.yaml")
    first = load_policy(write(tmp_path, text))
    assert [person.name for person in first.reviewers] == ["ada"]
    write(tmp_path, PEOPLE.format(key(2)), "reviewers.yaml")
    assert load_policy(tmp_path / "child.yaml").digest != first.digest


@pytest.mark.parametrize(
    ("people", "says"),
    [
        (PEOPLE.format("short"), r"reviewers.yaml:2: key: not an Ed25519 public key"),
        (
            PEOPLE.format(key(1)) + f"  - {{name: bob, key: {key(1)}, roles: [x]}}\n",
            r"reviewers.yaml:3: 'bob' is already there as 'ada'",
        ),
        (
            PEOPLE.format(key(1)) + f"  - {{name: ada, key: {key(2)}, roles: [x]}}\n",
            r"reviewers.yaml:3: 'ada' is already there",
        ),
        ("reviewers: []\n", r"reviewers.yaml:1: reviewers: List should have"),
    ],
    ids=["no key", "one key twice", "one name twice", "nobody"],
)
def test_wrong_reviewers_are_refused(tmp_path: Path, people: str, says: str) -> None:
    write(tmp_path, people, "reviewers.yaml")
    text = BASELINE.read_text().replace("quorum: 2", "quorum: 2, reviewers: reviewers.yaml")
    with pytest.raises(PolicyError, match=says):
        load_policy(write(tmp_path, text))


def test_a_child_cannot_bring_its_own_reviewers(tmp_path: Path) -> None:
    write(tmp_path, PEOPLE.format(key(1)), "ours.yaml")
    write(tmp_path, PEOPLE.format(key(2)), "theirs.yaml")
    text = BASELINE.read_text().replace("quorum: 2", "quorum: 2, reviewers: ours.yaml")
    write(tmp_path, text, "parent.yaml")
    head = "policy: c\nversion: 1\nwhy: a test\nextends: parent.yaml\n"
    with pytest.raises(PolicyError, match=r"child.yaml:5: reviewers: the parent names other"):
        load_policy(write(tmp_path, head + "approval: {reviewers: theirs.yaml}\n"))


def test_the_shipped_policy_stands_on_the_shipped_floor() -> None:
    policy = load_policy(SHIPPED / "default.yaml", floor=SHIPPED / "floor.yaml")
    assert policy.floor == load_policy(SHIPPED / "floor.yaml").digest


def named(policy: dict[str, Any], gate: str) -> dict[str, Any]:
    (found,) = (use for use in policy["data"] if use["gate"] == gate)
    return found


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda d: d["data"].remove(named(d, "no_secrets")),
            r":\d+: the gate no_secrets is left out, and the floor",
        ),
        (
            lambda d: d["model"].pop(1),
            r":\d+: the gate not_worse\(refusal.margin\) is left out",
        ),
        (
            lambda d: named(d, "no_personal_data").update(kinds=["email", "phone", "card"]),
            r":\d+: no_personal_data is looser than the floor .*kinds: email, phone, card where",
        ),
        (
            lambda d: d["model"][1]["than"].update(anchor=0.7),
            r":\d+: not_worse\(refusal.margin\) is looser than the floor .*than.anchor: 0.7",
        ),
        (
            lambda d: d["model"][1].update(on_fail="hold"),
            r":\d+: not_worse\(refusal.margin\) is looser .*on_fail: hold where reject stands",
        ),
        (
            lambda d: d["statistics"].update(false_pass_rate=0.2),
            r":\d+: looser than the floor .*false_pass_rate: 0.2 where 0.1 stands",
        ),
    ],
    ids=["data gate", "model gate", "fewer kinds", "wider margin", "softer action", "rate"],
)
def test_below_the_floor_is_refused(tmp_path: Path, change: object, says: str) -> None:
    said = yaml.safe_load((SHIPPED / "default.yaml").read_text())
    change(said)  # type: ignore[operator]
    path = write(tmp_path, yaml.safe_dump(said, sort_keys=False))
    with pytest.raises(PolicyError, match=says):
        load_policy(path, floor=SHIPPED / "floor.yaml")
    load_policy(path)  # without the floor it is a policy like any other


PARENT = """\
policy: parent
version: 1
why: a test
statistics: {on_inconclusive: ON}
data:
  - {gate: fits_schema, why: a test}
model:
  - {gate: not_worse, suite: refusal, than: {champion: MARGIN}, on_fail: ACT, why: a test}
"""
margins = st.sampled_from([0.03, 0.06, 0.1, 0.15, 0.3])
actions = st.sampled_from(["hold", "reject"])
changes = st.sampled_from([-0.5, -0.16, -0.11, -0.07, -0.04, 0.0, 0.3])


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)
@given(changes, changes, st.sampled_from([0.0, 0.06, 0.5]), st.data())
def test_a_child_never_decides_better_than_its_parent(
    tmp_path: Path, refusal: float, knowledge: float, gain: float, data: st.DataObject
) -> None:
    """Random tightenings and added gates, over all and over damaged evidence."""
    margin, act = data.draw(margins), data.draw(actions)
    on = data.draw(actions)
    text = PARENT.replace("MARGIN", str(margin)).replace("ACT", act).replace("ON", on)
    parent = load_policy(write(tmp_path, text, "parent.yaml"))
    tighter = {
        "gate": "not_worse",
        "suite": "refusal",
        "than": {"champion": min(margin, data.draw(margins)), "anchor": 0.2},
        "on_fail": "reject" if act == "reject" else data.draw(actions),
    }
    said = {
        "policy": "child",
        "version": 1,
        "why": "a test",
        "extends": "parent.yaml",
        "statistics": {
            "false_block_rate": data.draw(st.sampled_from([0.01, 0.1, 0.4])),
            "false_pass_rate": data.draw(st.sampled_from([0.01, 0.05])),
        },
        "model": [
            tighter,
            {
                "gate": "not_worse",
                "suite": "knowledge",
                "than": {"champion": 0.1},
                "why": "new",
            },
            {"gate": "learned", "at_least": 0.05, "on_fail": "hold", "why": "new"},
        ][: data.draw(st.integers(1, 3))],
    }
    below = load_policy(write(tmp_path, yaml.safe_dump(said)))
    full = evidence(refusal, knowledge, gain)
    seen = (
        full
        if data.draw(st.booleans())
        else data.draw(st.lists(st.sampled_from(full), unique_by=lambda m: m.name))
    )
    assert better(action(below, seen)) <= better(action(parent, seen))


def action(
    policy: Policy, measurements: "tuple[Measurement, ...] | list[Measurement]"
) -> Action:
    made = CandidateEvidence(subject=SUBJECT, measurements=tuple(measurements))
    return decide(judge(policy, made)).action
