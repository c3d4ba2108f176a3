"""The whole cycle from a recipe with frozen layers: judged, scaled, recorded, continued, erased."""

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.test_update import POLICY, SCALE, SECTIONS, World, outcomes
from tidegate.flows.erasing.forget import Forgotten, forget, wanted_of
from tidegate.flows.ledger import Ledger
from tidegate.flows.one_update import UpdateResult
from tidegate.gates.types import Action, Outcome

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("floor_of_batches")]

FROZEN = "frozen_layers: 1\n"
SOUND = "  - {gate: sound_adapter, max_delta_norm: 100.0, why: plain weights alone may serve}\n"


def training(world: World, result: UpdateResult) -> dict[str, Any]:
    about = dict(Ledger(world.home.ledger).read())[result.statement]["predicate"]["about"]
    found: dict[str, Any] = about["training"]
    return found


def test_an_update_of_the_upper_layers_is_judged_continued_and_erased_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, POLICY + SOUND)
    monkeypatch.setitem(SECTIONS, "lora", FROZEN)
    monkeypatch.setitem(SECTIONS, "scaled", SCALE + FROZEN)
    first = world.update(world.clean)
    assert first.decision.action is Action.PROMOTE, first.decision
    assert set(outcomes(first).values()) == {Outcome.PASS}
    assert training(world, first)["after"]["frozen.reused"] == "1.0"

    second = world.update(world.next, method="scaled")
    assert second.decision.action is Action.PROMOTE, second.decision
    after = training(world, second)["after"]
    assert after["frozen.reused"] == "1.0" and "scale" in after
    adapters = list(world.home.root.glob("updates/*/train/adapter/adapter_model.safetensors"))
    assert len(adapters) == 2
    for path in adapters:
        assert all(".layers.1." in name for name in load_file(path))

    done: Forgotten = forget(
        records=sorted(wanted_of(world.home, ["t-00000"], []).records),
        authors=[],
        home=str(world.home.root),
    )
    assert done.rebuilt, done
