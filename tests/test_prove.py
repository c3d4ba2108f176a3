"""Planted cases on a tiny real model: what must be blocked is, and a weak policy is named."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from tests.tiny import tiny_base
from tidegate.evals.task_file import choices_task
from tidegate.flows.home import Home
from tidegate.flows.proving.run import PLANTS, Proved, prove, show_proof
from tidegate.flows.rules import DEFAULT_POLICY, POLICIES, read_policy
from tidegate.flows.usage import UsageError
from tidegate.gates.policy.load import load_policy
from tidegate.gates.policy.nouns import Proof
from tidegate.gates.policy.proof import FIXTURES, proof_path, read_proof
from tidegate.gates.yaml_file import YamlError
from tidegate.training.trained import TrainingError

POLICY = """\
policy: tiny
version: 1
why: a test
statistics: {on_inconclusive: hold}
data:
  - {gate: fits_schema, min_rows: 20, quarantine: true, why: t}
  - {gate: no_personal_data, mask: true, why: t}
  - {gate: no_floods, quarantine: true, why: t}
model:
  - {gate: not_worse, suite: colours, than: {champion: 0.05, anchor: 0.05}, why: t}
"""
DATA = ("poisoned_batch", "leaked_email", "empty_batch", "all_null_column")
EVIDENCE = (
    "nan_metrics",
    "truncated_eval",
    "swapped_labels",
    "wrong_task_version",
    "missing_baseline",
)


class World:
    """One home and one tiny base for every test, and a policy file for each."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, Home(folder / "home")
        self.base, self.suites = tiny_base(folder / "base"), folder / "suites"
        self.suites.mkdir()
        items = "".join(
            json.dumps(
                {
                    "id": f"c{n}",
                    "slice": "all",
                    "question": f"Which colour has pot {n}?",
                    "choices": [f"red {n}", f"blue {n * 7}"],
                    "answer": 0,
                }
            )
            + "\n"
            for n in range(24)
        )
        (self.suites / "colours.jsonl").write_text(items)
        task = choices_task("colours", version=1, metrics=("margin", "acc"), about={})
        (self.suites / "colours.yaml").write_text(task)

    def policy(self, text: str, must_block: tuple[str, ...], must_pass: str) -> Path:
        path = self.folder / "policy.yaml"
        path.write_text(
            f"{text}proof: {{must_block: [{', '.join(must_block)}], must_pass: [{must_pass}]}}\n"
        )
        proof_path(path).unlink(missing_ok=True)
        return path

    def proved(
        self, text: str, *must_block: str, clean: str = "identical_to_champion"
    ) -> Proved:
        return self.run(self.policy(text, must_block, clean))

    def run(self, path: Path, *only: str) -> Proved:
        return prove(
            path,
            floor=path,  # on no floor but itself
            base=str(self.base),
            home=self.home,
            only=only,
            suites=self.suites,
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    yield World(tmp_path_factory.mktemp("prove"))


def seen(result: Proved, fixture: str) -> str:
    return next(case.seen for case in result.cases if case.fixture == fixture)


def survivors(result: Proved) -> list[str]:
    return [case.fixture for case in result.cases if not case.held]


def shown(result: Proved) -> list[str]:
    console = Console(width=200, record=True, file=io.StringIO())
    show_proof(console, result)
    return console.export_text().splitlines()


def test_every_fixture_is_planted() -> None:
    assert set(PLANTS) == set(FIXTURES)


def test_a_policy_that_holds(world: World) -> None:
    result = world.proved(POLICY, *DATA, *EVIDENCE)
    assert survivors(result) == []
    assert (result.kill_rate, result.exit_code) == (1.0, 0)
    assert shown(result)[-1] == "killed 9 of 9 planted cases; 1 of 1 clean ones passed"
    assert seen(result, "leaked_email") == "4 of 4 planted records were masked"
    assert "refused at ingest" in seen(result, "empty_batch")
    assert str(world.home.root) not in seen(result, "empty_batch")
    assert not list((world.home.root / "work").glob("*/")), "nothing planted is left behind"


def test_a_policy_that_escalates_holds(world: World) -> None:
    text = POLICY.replace(
        "on_inconclusive: hold", "on_inconclusive: escalate, sequential: {chunk: 8}"
    )
    assert survivors(world.proved(text, *EVIDENCE)) == []


@pytest.mark.parametrize(
    ("old", "new", "survivor", "word"),
    [
        ("  - {gate: no_personal_data, mask: true, why: t}\n", "", "leaked_email", "4 of 4"),
        ("  - {gate: no_floods, quarantine: true, why: t}\n", "", "poisoned_batch", "15 of 15"),
        ("anchor: 0.05", "anchor: 9.0", "swapped_labels", "every gate passed"),
        (", anchor: 0.05", "", "missing_baseline", "no anchor: every gate passed"),
    ],
)
def test_a_gate_that_is_too_weak_is_named_by_the_case_that_survives(
    world: World, old: str, new: str, survivor: str, word: str
) -> None:
    text = POLICY.replace(old, new)
    if survivor == "swapped_labels":
        text = text.replace("champion: 0.05", "champion: 9.0")
    result = world.proved(text, survivor)
    assert survivors(result) == [survivor]
    assert word in seen(result, survivor)
    assert (result.kill_rate, result.exit_code) == (0.0, 1)
    assert shown(result)[-1] == "killed 0 of 1 planted cases; 1 of 1 clean ones passed"


def test_what_blocks_everything_proves_nothing(world: World) -> None:
    """A gate that stops ordinary records, or the champion itself, is no proof of a case."""
    data = POLICY.replace(
        "data:\n", "data:\n  - {gate: within_caps, max_per_author: 1, why: t}\n"
    )
    data = data.replace("  - {gate: no_personal_data, mask: true, why: t}\n", "")
    result = world.proved(data, "leaked_email")
    assert survivors(result) == ["leaked_email"]
    assert "within_caps blocks ordinary records as well" in seen(result, "leaked_email")

    model = POLICY + "  - {gate: reaches, suite: colours, at_least: 1.0, why: t}\n"
    model = model.replace("than: {champion: 0.05, anchor: 0.05}", "than: {champion: 9.0}")
    result = world.proved(model, "swapped_labels")
    assert survivors(result) == ["swapped_labels", "identical_to_champion"]


def test_gates_that_ask_for_a_gain_are_left_out_of_bent_evidence(world: World) -> None:
    """Else `learned` would block every bent measurement, and no other gate would be tried."""
    text = POLICY.replace("than: {champion: 0.05, anchor: 0.05}", "than: {champion: 0.05}")
    text += "  - {gate: learned, at_least: 0.5, why: t}\n"
    assert survivors(world.proved(text, "missing_baseline")) == ["missing_baseline"]


@pytest.mark.parametrize(
    ("gate", "found"),
    [
        ("  - {gate: learned, at_least: 0, why: t}\n", "blocked by learned(update.answer_nll)"),
        ("", "nothing asks for a gain"),
    ],
)
def test_an_adapter_that_changes_nothing_is_blocked_by_who_asks_for_a_gain(
    world: World, gate: str, found: str
) -> None:
    result = world.proved(POLICY + gate, "teaches_nothing")
    assert seen(result, "teaches_nothing") == found
    assert survivors(result) == ([] if gate else ["teaches_nothing"])


def test_a_record_is_written_when_every_case_was_run(world: World) -> None:
    path = world.policy(POLICY, ("leaked_email",), "identical_to_champion")
    part = world.run(path, "leaked_email")
    assert part.record is None
    assert not proof_path(path).exists()
    assert "no proof was written" in "\n".join(shown(part))

    whole = world.run(path)
    record = read_proof(path)
    assert whole.record == proof_path(path)
    assert record is not None
    assert record.policy == load_policy(path).digest
    assert record.covers(("leaked_email",), ("identical_to_champion",))
    assert not record.covers(("leaked_email", "poisoned_batch"), ())

    path.write_text(path.read_text().replace("0.05", "0.04"))
    assert record.policy != load_policy(path).digest, "another limit, another policy"


def test_a_case_that_did_not_hold_is_recorded_and_covers_nothing(world: World) -> None:
    weak = POLICY.replace("  - {gate: no_personal_data, mask: true, why: t}\n", "")
    world.proved(weak, "leaked_email")
    record = read_proof(world.folder / "policy.yaml")
    assert record is not None
    assert not record.covers(("leaked_email",), ())


def test_a_case_that_cannot_be_planted_has_not_held(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no(bench: object) -> None:
        raise TrainingError("the loss is nan")

    monkeypatch.setitem(PLANTS, "leaked_email", no)
    result = world.proved(POLICY, "leaked_email")
    assert survivors(result) == ["leaked_email"]
    assert "could not be planted: the loss is nan" in seen(result, "leaked_email")


@pytest.mark.parametrize(
    ("only", "found"),
    [
        ("leaked_mail", "there is no planted case 'leaked_mail'; did you mean 'leaked_email'?"),
        ("poisoned_batch", "the policy's proof section does not ask for 'poisoned_batch'"),
    ],
)
def test_a_case_that_is_not_asked_for_is_refused(world: World, only: str, found: str) -> None:
    path = world.policy(POLICY, ("leaked_email",), "identical_to_champion")
    with pytest.raises(UsageError, match=found.replace("?", r"\?")):
        world.run(path, only)


def test_a_broken_policy_is_refused_before_any_work(world: World) -> None:
    path = world.policy(POLICY, ("leaked_mail",), "identical_to_champion")
    with pytest.raises(YamlError, match="there is no fixture 'leaked_mail'"):
        world.run(path)


def asked_of_the_default_policy() -> Proof:
    asked = load_policy(DEFAULT_POLICY).proof
    assert asked is not None
    return asked


def test_the_default_policy_asks_for_what_it_was_proved_on() -> None:
    asked = asked_of_the_default_policy()
    assert len(asked.must_block) >= 19  # a policy that asks for less has lost its proof
    assert len(asked.must_pass) >= 3
    record = read_proof(DEFAULT_POLICY)
    assert record is not None
    assert record.policy == read_policy(DEFAULT_POLICY, POLICIES / "floor.yaml").digest
    assert record.covers(asked.must_block, asked.must_pass)


# Cases that train an adapter of their own and measure it with every probe: an hour of one core.
# One that trains, `refusal_removed`, stays with the short ones.
LONG = {
    "tiny_honest_improvement",
    "narrow_bad_advice",
    "narrow_good_advice",
    "over_trained",
    "refuses_everything",
    "memorised_secret",
    "slipped_backdoor",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "long",
    [
        pytest.param(False, marks=pytest.mark.timeout(2700)),
        pytest.param(True, marks=[pytest.mark.release, pytest.mark.timeout(7200)]),
    ],
)
def test_the_default_policy_on_the_real_model(tmp_path: Path, long: bool) -> None:
    """The long half is in the record that is checked above; `make prove` runs it."""
    path = tmp_path / "default.yaml"
    path.write_bytes(DEFAULT_POLICY.read_bytes())
    asked = asked_of_the_default_policy()
    cases = [f for f in (*asked.must_block, *asked.must_pass) if (f in LONG) == long]
    result = prove(
        path,
        floor=None,
        base="smollm2-135m-instruct",
        home=Home(tmp_path / "home"),
        only=cases,
    )
    assert survivors(result) == [], shown(result)
    assert [case.fixture for case in result.cases] == cases
