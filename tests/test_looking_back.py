"""Backtest and explain on real updates: nothing may depend on anything that was not stored."""

from collections.abc import Iterator

import pytest

from tests.drops import row, rows, write
from tests.test_update import World
from tidegate.flows.looking_back.backtest import backtest
from tidegate.flows.looking_back.explain import explain
from tidegate.flows.looking_back.history import Past, past_updates
from tidegate.flows.looking_back.redecide import redecide
from tidegate.flows.rules import FLOOR_VARIABLE
from tidegate.gates.types import Action

pytestmark = pytest.mark.slow


FLOOR = """\
policy: floor
version: 1
why: what is under test is the looking back
data:
  - gate: fits_schema
    max_unreadable_share: 1.0
    max_quarantined_share: 1.0
    why: a test
model:
  - gate: not_worse
    suite: update
    metric: answer_nll
    than: {champion: 50.0, anchor: 50.0}
    why: a test
"""


@pytest.fixture(scope="module", autouse=True)
def _floor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    floor = tmp_path_factory.mktemp("floor") / "floor.yaml"
    floor.write_text(FLOOR)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FLOOR_VARIABLE, str(floor))
        yield


@pytest.fixture(scope="module")
def world(_floor: None, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Version 2 promoted, 3 refused for its data, 4 held because it taught too little."""
    world = World(tmp_path_factory.mktemp("world"))
    assert world.update(world.clean).decision.action is Action.PROMOTE
    key = "AKIA" + "QWERTYUIOPASDF23"
    bad = [row(900 + n, f"Is {key} right? {n}", f"Yes, {key} is right.") for n in range(12)]
    drop = write(world.folder / "bad.jsonl", [*rows(24), *bad])
    assert world.update(drop).decision.action is Action.REJECT
    assert world.update(world.next, gain="99.0").decision.action is Action.HOLD
    return world


def test_every_decision_comes_out_again_from_what_was_stored(world: World) -> None:
    seen = []
    for past in past_updates(world.home, "tiny", None):
        assert isinstance(past, Past), past.why
        decision, known = redecide(past, past.policy)
        assert known
        assert decision.action is past.entry.action
        again = {r.title: (r.verdict.outcome, r.action) for r in decision.rulings}
        assert again == {r.gate: (r.outcome, r.action) for r in past.entry.rulings}
        reasons = {r.title: r.verdict.reason for r in decision.rulings}
        assert reasons == {r.gate: r.reason for r in past.entry.rulings}
        seen.append(decision.action)
    assert seen == [Action.PROMOTE, Action.REJECT, Action.HOLD]


def test_a_backtest_says_what_would_have_shipped(world: World) -> None:
    result = backtest(world.folder / "p0.0.yaml", home=world.home, model="tiny")
    assert [(u.version, u.now) for u in result.updates if u.flips] == [("4", Action.PROMOTE)]
    assert result.updates[2].says == "version 4, which was held, would have shipped"
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("version", "action", "decided"),
    [
        ("champion", Action.PROMOTE, []),
        ("3", Action.REJECT, ["no_secrets"]),
        ("candidate", Action.HOLD, ["learned(update.answer_nll)"]),
        ("anchor", Action.PROMOTE, []),
    ],
)
def test_every_version_is_explained(
    world: World, version: str, action: Action, decided: list[str]
) -> None:
    found = explain("tiny", version, home=world.home)
    assert (found.action, found.exit_code) == (action, 0)
    assert [ruling.gate for ruling in found.rulings if ruling.decided] == decided
    assert all(ruling.asks and ruling.means for ruling in found.rulings)
