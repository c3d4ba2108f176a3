"""Past updates under another policy: what flips, what cannot be known, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.past import MODEL, POLICY, World, data, model
from tidegate.flows.looking_back.backtest import (
    Backtested,
    Redecided,
    backtest,
    show_backtested,
)
from tidegate.flows.usage import UsageError
from tidegate.gates.policy.load import PolicyError
from tidegate.gates.types import Action, BatchEvidence, Outcome, Ruling, Verdict

PROMOTE, HOLD, REJECT = Action.PROMOTE, Action.HOLD, Action.REJECT


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """2 promoted, 3 lost refusals, 4 held secrets, 5 taught nothing, 6 lost a little knowledge."""
    world = World(tmp_path_factory.mktemp("past"))
    world.decided(2, data(), model(), days_ago=100)
    world.decided(3, data(), model(refusal=-0.3), days_ago=80)
    world.decided(4, data(secrets=10), days_ago=60)
    world.decided(5, data(), model(gain=0.0), days_ago=40)
    world.decided(6, data(), model(knowledge=-0.05), days_ago=20)
    return world


def under(world: World, *changes: str, days: int | None = None) -> Backtested:
    since = None if days is None else f"{days}d"
    return by(world.policy_file, world, since=since, changes=changes)


def by(path: Path, world: World, **more: Any) -> Backtested:
    """A policy that is its own floor stands on nothing else."""
    return backtest(path, home=world.home, model=MODEL, floor=path, **more)


def flips(result: Backtested) -> dict[str, tuple[Action, Action | None]]:
    return {u.version: (u.was, u.now) for u in result.updates if u.flips}


def one(result: Backtested, version: str) -> Redecided:
    return next(update for update in result.updates if update.version == version)


def test_the_policy_of_the_time_decides_everything_as_it_did(world: World) -> None:
    result = under(world)
    assert [u.was for u in result.updates] == [PROMOTE, REJECT, REJECT, HOLD, PROMOTE]
    assert flips(result) == {}
    assert not any(u.changes or u.notes or u.missing for u in result.updates)
    assert (result.undecided, result.not_judged, result.exit_code) == ((), (), 0)


def test_since_looks_at_the_last_while_only(world: World) -> None:
    assert [u.version for u in under(world, days=50).updates] == ["5", "6"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (["model.not_worse(knowledge.margin).than.champion=0.04"], {"6": (PROMOTE, HOLD)}),
        (
            [
                "model.not_worse(knowledge.margin).than.champion=0.04",
                "model.not_worse(knowledge.margin).on_fail=reject",
            ],
            {"6": (PROMOTE, REJECT)},
        ),
        (
            ["model.not_worse(refusal.margin).than={champion: 0.5, anchor: 0.5}"],
            {"3": (REJECT, PROMOTE)},
        ),
        (["model.learned.on_fail=reject"], {"5": (HOLD, REJECT)}),
        (["data.no_secrets.max_quarantined_share=0.5"], {"4": (REJECT, None)}),
        (["data.no_secrets.on_fail=hold"], {"4": (REJECT, HOLD)}),
        (
            ["data.fits_schema.min_rows=1000"],
            {"2": (PROMOTE, REJECT), "5": (HOLD, REJECT), "6": (PROMOTE, REJECT)},
        ),
        (["statistics.false_pass_rate=0.001"], {}),
        (["baselines.on_missing=reject"], {}),
    ],
)
def test_what_flips(
    world: World, changes: list[str], expected: dict[str, tuple[Action, Action | None]]
) -> None:
    result = under(world, *changes)
    assert flips(result) == expected
    assert result.exit_code == (1 if expected else 0)


@pytest.mark.parametrize(
    ("change", "version", "says"),
    [
        (
            "model.not_worse(knowledge.margin).than.champion=0.04",
            "6",
            "version 6, which was promoted, would have been kept out: held",
        ),
        (
            "model.not_worse(refusal.margin).than={champion: 0.5, anchor: 0.5}",
            "3",
            "version 3, which was rejected, would have shipped",
        ),
        (
            "data.no_secrets.max_quarantined_share=0.5",
            "4",
            "the batch of version 4, rejected before training, "
            + "would have gone on to training; not known beyond",
        ),
        (
            "model.learned.on_fail=reject",
            "5",
            "version 5 would have been rejected instead of held; it ships neither way",
        ),
    ],
)
def test_a_flip_says_what_would_have_shipped(
    world: World, change: str, version: str, says: str
) -> None:
    assert one(under(world, change), version).says == says


def test_the_rulings_that_changed_are_listed_with_their_reason(world: World) -> None:
    (change,) = one(
        under(world, "model.not_worse(knowledge.margin).than.champion=0.04"), "6"
    ).changes
    assert change.gate == "not_worse(knowledge.margin)"
    assert (change.was, change.was_action) == (Outcome.PASS, PROMOTE)
    assert change.now in (Outcome.FAIL, Outcome.INCONCLUSIVE)
    assert change.now_action is HOLD
    assert "must stay above -0.040" in change.reason


def test_a_ruling_that_changes_without_a_flip_is_listed_too(world: World) -> None:
    update = one(under(world, "model.learned.at_least=0"), "5")
    assert not update.flips
    assert [c.gate for c in update.changes] == ["learned(update.answer_nll)"]


def test_a_suite_that_was_not_measured_is_missing(world: World, tmp_path: Path) -> None:
    asks = "  - {gate: not_worse, suite: honesty, than: {champion: 0.1}, why: it was honest}\n"
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY + asks)
    result = by(path, world)
    assert flips(result) == {
        "2": (PROMOTE, REJECT),
        "5": (HOLD, REJECT),
        "6": (PROMOTE, REJECT),
    }
    assert one(result, "2").missing == ("not_worse(honesty.margin)",)
    assert one(result, "4").missing == ()


def test_a_gate_that_is_left_out_rules_no_more(world: World, tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(
        "\n".join(line for line in POLICY.splitlines() if "gate: learned" not in line)
    )
    update = one(by(path, world), "5")
    assert (update.was, update.now) == (HOLD, PROMOTE)
    assert [c.reason for c in update.changes] == ["not asked any more"]


@pytest.mark.parametrize(
    ("found", "change", "known"),
    [
        # Nobody was named, and fewer still would be: the counts hold.
        (data(), "data.no_floods.max_ratio=3", True),
        (data(), "data.no_floods.quarantine=false", True),
        # Nobody was named, but more might be.
        (data(), "data.no_floods.max_ratio=1.5", False),
        (data(), "data.no_secrets.more_rules=rules.toml", False),
        # Somebody was named: the batch itself would have been another.
        (data(floods=2), "data.no_floods.max_ratio=3", False),
        (data(floods=2), "data.no_floods.quarantine=false", False),
        # Only a limit on what was counted.
        (data(floods=2), "data.no_floods.max_quarantined_share=0.5", True),
        (data(floods=2), "data.no_secrets.quarantine=false", True),
    ],
)
def test_a_change_of_what_is_named_is_never_judged_by_the_old_counts(
    tmp_path: Path, found: BatchEvidence, change: str, known: bool
) -> None:
    world = World(tmp_path)
    world.decided(2, found, model())
    result = under(world, change)
    assert (len(result.updates), len(result.undecided)) == ((1, 0) if known else (0, 1))
    assert result.exit_code == (0 if known else 4)
    if not known:
        assert "would name other records" in result.undecided[0].why


def test_another_baseline_is_another_measurement(world: World) -> None:
    result = under(world, "baselines.champion.alias=candidate")
    assert result.exit_code == 4
    assert not result.updates
    assert "was compared with another model" in result.undecided[0].why


def test_one_update_without_evidence_is_listed_and_the_rest_decided(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.decided(2, data(), model())
    world.decided(3, data(), model())
    (world.folder("u-2") / "evidence_model.json.gz").unlink()
    result = under(world)
    assert [u.version for u in result.updates] == ["3"]
    assert [u.version for u in result.undecided] == ["2"]
    assert "is gone" in result.undecided[0].why
    assert result.exit_code == 4


def ruling(title: str, action: Action, outcome: Outcome) -> Ruling:
    verdict = Verdict(outcome=outcome, reason="as it was")
    return Ruling(gate=title, title=title, verdict=verdict, action=action, why="a test")


def test_rulings_that_no_gate_made_stand_as_recorded(tmp_path: Path) -> None:
    world = World(tmp_path)
    envelope = ruling("envelope", HOLD, Outcome.FAIL)
    training = ruling("training", REJECT, Outcome.ERROR)
    world.decided(2, data(), model(), others=(envelope,))
    world.decided(3, data(), others=(training,))
    for changes in ((), ("model.learned.at_least=0",), ("data.fits_schema.min_rows=2",)):
        result = under(world, *changes)
        assert [u.now for u in result.updates] == [HOLD, REJECT]
        assert result.exit_code == 0


def test_a_candidate_that_would_not_have_been_made_has_no_later_rulings(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.decided(2, data(), others=(ruling("training", REJECT, Outcome.ERROR),))
    change = ("data.fits_schema.min_rows=1000", "data.fits_schema.on_fail=hold")
    assert flips(under(world, *change)) == {"2": (REJECT, HOLD)}


def test_a_waiver_counts_under_its_own_policy_only(tmp_path: Path) -> None:
    world = World(tmp_path)
    waived = {"not_worse(knowledge.margin)": PROMOTE}
    world.decided(2, data(), model(knowledge=-0.3), waived=waived)
    assert flips(under(world)) == {}
    result = under(world, "model.learned.at_least=0.06")
    assert flips(result) == {"2": (PROMOTE, HOLD)}
    assert "waiver for not_worse(knowledge.margin)" in result.updates[0].notes[0]


def test_code_that_judges_otherwise_is_told(tmp_path: Path) -> None:
    """The statement says promote, the evidence under the same policy says otherwise."""
    world = World(tmp_path)
    world.decided(2, data(), model(knowledge=-0.3), recorded=PROMOTE)
    (update,) = under(world).updates
    assert update.flips
    assert "the code that judges has changed" in update.notes[0]


def test_sections_about_recipe_cost_and_people_are_named_as_not_judged(
    world: World, tmp_path: Path
) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY + "budget: {eval_items: 10}\napproval: {quorum: 2}\n")
    assert by(path, world).not_judged == ("approval", "budget")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.learned.at_least", "write PATH=VALUE"),
        ("model.learned=1", "write model.GATE.SETTING"),
        ("modle.learned.at_least=1", "a policy has no 'modle'; did you mean 'model'?"),
        ("model.lerned.at_least=1", "no gate 'lerned' there"),
        ("model.not_worse(refusl.margin).than.champion=1", "did you mean 'not_worse(refusal"),
        (
            "model.not_worse.than.champion=1",
            "used more than once; say which: not_worse(refusal",
        ),
        ("model.learned.at_leest=1", "no setting 'at_leest'; did you mean 'at_least'?"),
        ("model.learned.how=1", "no setting 'how'"),
        ("model.learned.at_least.more=1", "at_least is one value"),
        ("model.learned.suite=other", "suite says which gate this is"),
        (
            "model.not_worse(refusal.margin).than.champoin=1",
            "no setting 'champoin'; did you mean 'champion'?",
        ),
        ("statistics.false_pas_rate=1", "did you mean 'false_pass_rate'?"),
        ("statistics.false_pass_rate=0.9", "less than or equal to 0.2"),
        ("statistics=1", "only what the gates are asked with"),
        ("envelope.outside=reject", "only what the gates are asked with"),
        ("model.learned.at_least=-1", "greater than or equal to 0"),
        ("model.learned.at_least=[", "is not YAML"),
        ("model.learned.at_least='0.1'", "valid number"),
        ("data.no_floods.on_fail=promote", "'hold' or 'reject'"),
    ],
)
def test_a_change_that_cannot_be_made_is_refused_with_what_would_do(
    world: World, change: str, message: str
) -> None:
    with pytest.raises(UsageError) as refused:
        under(world, change)
    assert message in str(refused.value)


def test_a_child_still_only_tightens(tmp_path: Path) -> None:
    (tmp_path / "parent.yaml").write_text(POLICY)
    world = World(tmp_path, "policy: child\nversion: 1\nwhy: a test\nextends: parent.yaml\n")
    world.decided(2, data(), model(knowledge=-0.05))
    tighter = "model.not_worse(knowledge.margin).than.champion=0.04"
    assert flips(under(world, tighter)) == {"2": (PROMOTE, HOLD)}
    with pytest.raises(UsageError, match=r"policy\.yaml with .*looser than"):
        under(world, "model.not_worse(knowledge.margin).than.champion=0.5")


def test_a_floor_still_holds(world: World, tmp_path: Path) -> None:
    floor = tmp_path / "floor.yaml"
    floor.write_text(POLICY)
    change = ["model.not_worse(knowledge.margin).than.champion=0.5"]
    with pytest.raises(UsageError, match="looser than the floor"):
        backtest(world.policy_file, home=world.home, model=MODEL, changes=change, floor=floor)


def test_without_a_floor_given_the_shipped_one_holds(world: World) -> None:
    with pytest.raises(PolicyError, match="floor"):
        backtest(world.policy_file, home=world.home, model=MODEL)


def test_a_file_that_is_no_policy_is_refused_as_ever(world: World, tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("policy: x\n")
    with pytest.raises(PolicyError, match=r"policy\.yaml:1"):
        by(path, world, changes=["model.learned.at_least=1"])


def test_nothing_to_re_decide_is_no_success(world: World, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to re-decide"):
        under(world, days=1)
    with pytest.raises(UsageError, match="no model line 'assistent'; known: assistant"):
        backtest(world.policy_file, home=world.home, model="assistent", floor=world.policy_file)


@pytest.mark.parametrize("since", ["90", "soon", "-3d", "99999999999d", "5000000d"])
def test_a_while_that_is_none_is_refused(world: World, since: str) -> None:
    with pytest.raises(UsageError, match="write a length of time, as 90d or 12h"):
        by(world.policy_file, world, since=since)


def test_what_is_shown_fits_and_names_every_update(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    result = under(world, "model.not_worse(knowledge.margin).than.champion=0.04")
    show_backtested(Console(width=100), result)
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 100
    assert all(u.update_id in shown for u in result.updates)
    assert "Version 6, which was promoted, would have been kept out: held." in shown
    assert "5 re-decided, 1 would flip, 0 cannot be re-decided" in shown


def test_the_document_is_json(world: World) -> None:
    result = under(world, "data.no_secrets.max_quarantined_share=0.5")
    assert Backtested.model_validate_json(result.model_dump_json()) == result
