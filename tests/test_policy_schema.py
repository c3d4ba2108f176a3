"""The schema accepts what load_policy accepts, and refuses what has another shape."""

import copy
import json
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft202012Validator

from tidegate.gates.gate import load_gates
from tidegate.gates.policy.load import PolicyError, load_policy
from tidegate.gates.policy.schema import policy_schema

POLICIES = Path(__file__).parents[1] / "policies"
WRONG = Path(__file__).parent / "policies"
SCHEMA = policy_schema()
VALIDATOR = Draft202012Validator(SCHEMA)

# Wrong by what they mean, or before there is anything to look at: not for a schema to see.
BEYOND_A_SCHEMA = {
    "alias_bomb",  # read as what it stands for
    "empty_range",  # two numbers compared
    "gate_twice",  # two gates of one title
    "key_set_twice",  # read as the last of the two
    "no_margin",  # one of two settings is needed
    "not_yaml",
    "slices_without_margin",  # a child, whose parent might have it
}
SHAPELESS = [
    path
    for path in sorted(WRONG.glob("*.yaml"))
    # A child is wrong beside its parent, which a schema does not see.
    if path.stem not in BEYOND_A_SCHEMA and not path.stem.startswith("child_")
]
FULL = f"""\
policy: full
version: 3
why: every section
baselines: {{champion: {{alias: champion}}, on_missing: reject}}
statistics:
  power: 0.9
  noise_floor: {{repeats: 2}}
  on_inconclusive: escalate
  sequential: {{chunk: 32, early_share: 0.25}}
envelope:
  base: {{digest: "sha256:{"0" * 64}"}}
  recipe: {{methods: [anchored], rank: "<=32", alpha: 16, learning_rate: "<=5e-4"}}
  data: {{sources: [chat], rows: "50..50000", replay_share: ">=0.2"}}
  outside: reject
data:
  - {{gate: fits_schema, min_rows: 50, quarantine: true, why: a test}}
  - {{gate: no_personal_data, kinds: [email], mask: true, locked: true, why: a test}}
model:
  - gate: not_worse
    suite: refusal
    than: {{champion: 0.1, anchor: 0.2}}
    slices: {{by: slice, worst: 0.5, min_items: 50}}
    on_fail: hold
    why: a test
  - {{gate: learned, at_least: 0.1, why: a test}}
  - {{gate: reaches, suite: knowledge, at_least: 0.5, why: a test}}
  - {{gate: gains_plausibly, suite: knowledge, at_most: 1, why: a test}}
approval: {{when: always, quorum: 2, roles: [model-reviewer], not: [requester], valid_for: 72h}}
promote: {{to: champion, keep: previous}}
budget: {{wall: 2h, eval_items: 20000, gpu_hours: 6}}
proof: {{must_block: [empty_batch], must_pass: [identical_to_champion], required: false}}
"""
CHILD = """\
policy: child
version: 1
extends: full.yaml
why: tighter in three places
statistics: {noise_floor: {repeats: 3}}
model:
  - {gate: not_worse, suite: refusal, than: {champion: 0.05}, slices: {worst: 0.4}}
  - {gate: learned, at_least: 0.2}
"""


def refused(document: Any) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(document)]


def test_it_is_a_schema_of_its_dialect() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_the_shipped_file_is_current() -> None:
    written = json.loads((POLICIES / "schema.json").read_text(encoding="utf-8"))
    assert written == SCHEMA, "run `make docs`"


@pytest.mark.parametrize("path", sorted(POLICIES.glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_policies_are_accepted(path: Path) -> None:
    assert refused(yaml.safe_load(path.read_text())) == []


@pytest.mark.parametrize("path", SHAPELESS, ids=lambda p: p.stem)
def test_files_of_a_wrong_shape_are_refused(path: Path) -> None:
    assert refused(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize("text", [FULL, CHILD], ids=["full", "child"])
def test_every_section_may_be_written(text: str, tmp_path: Path) -> None:
    (tmp_path / "full.yaml").write_text(FULL)
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    load_policy(path)
    assert refused(yaml.safe_load(text)) == []


@pytest.mark.parametrize(
    ("at", "value", "accepted"),
    [
        (("statistics", "power"), 0.8, True),
        (("statistics", "power"), 1, False),
        (("statistics", "power"), "80%", False),
        (("statistics", "pwer"), 0.8, False),
        (("statistics",), None, True),
        (("statistics", "noise_floor"), {}, False),
        (("envelope", "recipe", "rank"), "8..32", True),
        (("envelope", "recipe", "rank"), ">= 8", True),
        (("envelope", "recipe", "rank"), 16, True),
        (("envelope", "recipe", "rank"), "about 32", False),
        (("envelope", "recipe", "rank"), "<32", False),
        (("envelope", "base", "digest"), "sha256:12", False),
        (("approval", "valid_for"), "90 s", True),
        (("approval", "valid_for"), 3600, False),
        (("approval", "valid_for"), "3 weeks", False),
        (("approval", "not"), [], True),
        (("approval", "not"), ["author"], False),
        (("approval", "excluded"), [], False),
        (("approval", "reviewers"), "reviewers.yaml", True),
        (("approval", "reviewers"), [{"name": "ada"}], False),
        (("budget", "wall"), None, True),
        (("budget", "eval_items"), 0, False),
        (("budget", "eval_items"), 2.5, False),
        (("proof", "must_block"), ["leaked_email"], True),
        (("proof", "must_block"), ["leeked_email"], False),
        (("proof", "must_pass"), [], False),
        (("data",), [], False),
        (("data",), None, False),
        (("extends",), None, True),
        (("model", 0, "than", "champion"), 0, False),
        (("model", 0, "than", "champ"), 0.1, False),
        (("model", 0, "slices"), None, True),
        (("model", 0, "slices"), {"by": "language"}, False),
        (("model", 0, "how"), {"false_pass_rate": 0.4}, False),
        (("model", 0, "max_records"), 0, False),
        (("model", 1, "gate"), "serves", False),
        (("model", 0, "on_fail"), "warn", False),
        (("model", 0, "locked"), "yes", False),
        (("data", 1, "kinds"), ["email", "dna"], False),
        (("data", 1, "kinds"), [], False),
    ],
)
def test_what_is_accepted(at: tuple[str | int, ...], value: Any, accepted: bool) -> None:
    document = yaml.safe_load(FULL)
    _set(document, at, value)
    assert (refused(document) == []) is accepted


@pytest.mark.parametrize("key", ["policy", "version", "why", "data", "model"])
def test_what_may_not_be_left_out(key: str) -> None:
    document = yaml.safe_load(FULL)
    del document[key]
    assert refused(document) == [f"{key!r} is a required property"]


def test_a_child_may_leave_out_what_it_inherits_but_not_the_name_of_a_gate() -> None:
    document = yaml.safe_load(CHILD)
    assert refused(document) == []
    assert refused({**document, "extends": None})
    del document["model"][0]["gate"]
    assert refused(document) == ["'gate' is a required property"]


def test_every_gate_and_every_setting_is_explained() -> None:
    described = {}
    for stage in ("data", "model"):
        for choice in SCHEMA["properties"][stage]["items"]["allOf"]:
            then = choice["then"]
            described[then["title"]] = then["description"]
            for name, said in then["properties"].items():
                assert said.get("description") or said.get("properties"), (then["title"], name)
    assert described == {name: gate.summary for name, gate in load_gates().items()}


def _places(document: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [at] if at else []
    if isinstance(document, dict):
        return found + [p for k, v in document.items() for p in _places(v, (*at, k))]
    if isinstance(document, list):
        return found + [p for i, v in enumerate(document) for p in _places(v, (*at, i))]
    return found


def _set(document: Any, at: tuple[str | int, ...], value: Any) -> None:
    for part in at[:-1]:
        document = document[part]
    document[at[-1]] = value


def _at(document: Any, at: tuple[str | int, ...]) -> Any:
    for part in at:
        document = document[part]
    return document


PLACES = _places(yaml.safe_load(FULL))
VALUES = st.one_of(
    st.sampled_from([_at(yaml.safe_load(FULL), at) for at in PLACES]),
    st.sampled_from(["hold", "always", "escalate", "bca", "<=1e-3", "7d", 0, 1, True, [], {}]),
    st.none() | st.integers(-2, 300) | st.floats(-1, 2) | st.text(max_size=4),
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(changes=st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=1, max_size=2))
def test_what_load_policy_accepts_the_schema_accepts(
    tmp_path: Path, changes: list[tuple[tuple[str | int, ...], Any]]
) -> None:
    document = yaml.safe_load(FULL)
    for at, value in changes:
        try:
            _set(document, at, copy.deepcopy(value))
        except (KeyError, IndexError, TypeError):
            return  # the place went with the first change
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump(document))
    try:
        load_policy(path)
    except PolicyError:
        return
    assert refused(yaml.safe_load(path.read_text())) == []
