"""Learning from rewards: the numbers, worked out the long way, and what a model makes of them."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.test_methods_by_hand import adapted_model
from tests.test_rollouts import END, LORA, SHORT, Scripted, World, recipe, written
from tests.tiny import tiny_base, tiny_records
from tidegate.gates.types import Progress
from tidegate.training import train as loop
from tidegate.training.base import Base, find_base, load_model
from tidegate.training.fisher import adapted
from tidegate.training.methods import Term
from tidegate.training.packing import Item, pack
from tidegate.training.policy_gradient import advantages, grpo, with_old_policy
from tidegate.training.recipe import Replay, Rewarded
from tidegate.training.rows import Row, read_rows
from tidegate.training.step import backward
from tidegate.training.trained import TrainingError

pytestmark = pytest.mark.usefixtures("one_thread")

TEMPERATURE = 0.4  # at which a parent of a few epochs is right now and then
REWARDED = Rewarded(temperature=TEMPERATURE, **SHORT)
GRPO = recipe("grpo", rewarded=REWARDED, rows_per_step=16, learning_rate=0.005, epochs=4)
TERM = Term("rollouts", "grpo", 1.0, 1.0)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    folder = tmp_path_factory.mktemp("base")
    return find_base(str(tiny_base(folder / "tiny")), folder)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Its parent has half learned to answer with Yes."""
    made = World(tmp_path_factory.mktemp("grpo"))
    taught = made.folder / "first.parquet"
    half = LORA.model_copy(update={"epochs": 6})
    made.parent = made.train(half, taught, made.folder / "half", None).adapter
    return made


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [
        (
            (1, 0, 0, 0),
            (math.sqrt(3), *[-1 / math.sqrt(3)] * 3),
        ),  # mean 1/4, deviation sqrt(3)/4
        ((0, 1, 1, 0), (-1, 1, 1, -1)),
        ((1, 1, 1), None),
        ((0, 0), None),
    ],
)
def test_an_advantage_is_within_its_group(
    rewards: tuple[float, ...], expected: tuple[float, ...] | None
) -> None:
    found = advantages(rewards)
    assert found == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("ratio", "advantage", "kl_weight", "loss", "slope"),
    [
        (1.0, 2.0, 0.0, -2.0, -2.0),
        (1.1, 1.0, 0.0, -1.1, -1.1),
        (1.5, 1.0, 0.0, -1.2, 0.0),  # better, and far enough already
        (1.5, -1.0, 0.0, 1.5, 1.5),  # worse, and gone the wrong way: all of the pull back
        (0.5, 1.0, 0.0, -0.5, -0.5),
        (0.5, -1.0, 0.0, 0.8, 0.0),
        # 1/2 - 1 + log 2 at r = 2; its slope is 1 - 1/r
        (2.0, 0.0, 3.0, 3 * 0.193147, 1.5),
        (2.0, 1.0, 3.0, 3 * 0.193147 - 1.2, 1.5),  # where the clip holds, the KL still pulls
    ],
)
def test_the_loss_and_its_slope_by_hand(
    ratio: float, advantage: float, kl_weight: float, loss: float, slope: float
) -> None:
    old = torch.tensor([math.log(0.3)])
    logp = (old + math.log(ratio)).requires_grad_(True)
    found = grpo(logp, old, advantage, 0.2, kl_weight)
    torch.autograd.backward(found)
    assert logp.grad is not None
    assert float(found.detach()) == pytest.approx(loss, abs=1e-5)
    assert float(logp.grad) == pytest.approx(slope, abs=1e-5)


def test_the_kl_of_drawn_tokens_is_the_kl_over_the_vocabulary() -> None:
    """The mean of the estimate under the model, over every token that it could draw."""
    torch.manual_seed(0)
    model, parent = (torch.randn(259, dtype=torch.float64).log_softmax(0) for _ in range(2))
    estimate = sum(
        float(p.exp() * grpo(p[None], old[None], 0.0, 0.2, 1.0))
        for p, old in zip(model, parent, strict=True)
    )
    assert estimate == pytest.approx(float((model.exp() * (model - parent)).sum()), rel=1e-9)


def long_way(model: Any, rows: list[Row], says: list[Tensor], how: Rewarded) -> Tensor:
    """The objective answer by answer and token by token, over the whole vocabulary.

    says: for each row, what the parent says at each place (n, vocabulary).
    """
    answers = []
    for row, parent in zip(rows, says, strict=True):
        logits = model(input_ids=torch.tensor([row.ids])).logits[0, row.start - 1 : -1]
        now = functional.log_softmax(logits / how.temperature, dim=-1)
        tokens = []
        assert row.advantage is not None
        for place, token in enumerate(row.ids[row.start :]):
            r = torch.exp(now[place, token] - parent[place, token])
            limit = 1 + how.clip if row.advantage > 0 else 1 - how.clip
            beyond = r > limit if row.advantage > 0 else r < limit
            gain = row.advantage * (torch.tensor(limit) if beyond else r)
            tokens.append(how.kl_weight * (1 / r - 1 + torch.log(r)) - gain)
        answers.append(torch.stack(tokens).mean())
    return torch.stack(answers).mean()


@pytest.mark.parametrize("kl_weight", [0.0, 0.5])
def test_a_step_is_the_objective_over_the_whole_vocabulary_however_it_is_packed(
    kl_weight: float, base: Base
) -> None:
    how = Rewarded(kl_weight=kl_weight, temperature=0.7)
    signs = (1.5, -0.5, -1.0, 0.25)
    rows = [
        Row(str(n), tuple(range(3 + n, 3 + n + 6 + 2 * n)), 3 + n, advantage=sign)
        for n, sign in enumerate(signs)
    ]
    parent = adapted_model(base, 1)
    with torch.no_grad():
        says = [
            functional.log_softmax(
                parent(input_ids=torch.tensor([row.ids])).logits[0, row.start - 1 : -1] / 0.7,
                -1,
            )
            for row in rows
        ]
    asked = with_old_policy(parent, rows, 0.7)

    def moved() -> Any:
        model = adapted_model(base, 1)
        with torch.no_grad():
            for layer in adapted(model):
                layer.lora_B["default"].weight += 0.05
        return model

    slow = moved()
    expected = long_way(slow, rows, says, how)
    torch.autograd.backward(expected)
    grad = next(adapted(slow)).lora_B["default"].weight.grad
    assert float(grad.abs().max()) > 1e-3
    for limit in (0, 16, 4096):
        model = moved()
        packs = pack([Item("rollouts", row) for row in asked], limit)
        found = backward(model, (TERM,), packs, rewarded=how)
        assert found == {"rollouts": pytest.approx(float(expected.detach()), rel=1e-4)}
        mine = next(adapted(model)).lora_B["default"].weight.grad
        assert torch.allclose(mine, grad, rtol=1e-3, atol=1e-5)


def test_where_all_tokens_are_clipped_nothing_moves(base: Base) -> None:
    """Their old probabilities are a tenth of what the model now gives them."""
    model = adapted_model(base, 1)
    (row,) = with_old_policy(model, [Row("a", tuple(range(3, 12)), 4, advantage=1.0)], 1.0)
    assert row.old_policy is not None
    slopes = []
    for advantage in (1.0, -1.0):
        far = replace(row, old_policy=row.old_policy - math.log(10), advantage=advantage)
        model.zero_grad()
        packs = pack([Item("rollouts", far)], 0)
        backward(model, (TERM,), packs, rewarded=Rewarded(kl_weight=0.0))
        grad = next(adapted(model)).lora_B["default"].weight.grad
        slopes.append(0.0 if grad is None else float(grad.abs().max()))
    assert slopes[0] == 0 and slopes[1] > 1e-3


@pytest.mark.parametrize("missing", ["advantage", "old_policy"])
def test_a_row_that_was_not_compared_is_an_error(missing: str, base: Base) -> None:
    model = adapted_model(base, 1)
    (row,) = with_old_policy(model, [Row("a", (3, 4, 5), 1, advantage=1.0)], 1.0)
    packs = pack([Item("rollouts", replace(row, **{missing: None}))], 0)
    with pytest.raises(ValueError, match="without its advantage or old policy"):
        backward(model, (TERM,), packs, rewarded=REWARDED)


def test_groups_are_compared_within_themselves_and_one_sided_ones_are_left_out(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = tiny_records(
        tmp_path / "new.parquet",
        [("Is it?", "Yes."), ("Why?", "So."), ("X?", "Y"), ("How?", "?!")],
    )
    said = ("yes", "no", "No.", "no", *["so!"] * 4, *["n"] * 4)
    # The second one's last answer is cut off: it does not count, whatever it says.
    script = Scripted(world, monkeypatch, *(f"{text}{END}" for text in said[:-1]), "Y")
    how = GRPO.model_copy(update={"rewarded": REWARDED.model_copy(update={"per_row": 4})})
    found = world.train(how, new, tmp_path / "work")
    assert not script.answers
    rows = written(tmp_path / "work")
    assert [row.id for row in rows] == [f"r0000.{n}" for n in range(4)]
    third = 1 / math.sqrt(3)
    assert [row.advantage for row in rows] == pytest.approx([math.sqrt(3), *[-third] * 3])
    assert rows[1].ids == rows[3].ids  # one that is often written counts as often
    assert found.counts.skipped == {
        "rollouts: all answers right": 1,
        "rollouts: all answers wrong": 1,
        "rollouts: cannot be verified": 1,
    }
    assert found.counts.rollouts == {
        "questions": 3,
        "answers": 12,
        "right": 5,
        "questions with an advantage": 1,
        "kept": 4,
    }
    assert found.counts.seen == {"new": 0, "rollouts": 4 * how.epochs}


@pytest.mark.parametrize(
    ("said", "numbers"),
    [
        ("Yes.", r"8 of 8 right; 4 all answers right\)"),
        ("No.", r"0 of 8 right; 4 all answers w"),
    ],
)
def test_without_any_advantage_there_is_nothing_to_learn(
    said: str, numbers: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = tiny_records(tmp_path / "new.parquet", [(f"Is it {n}?", "Yes.") for n in range(4)])
    Scripted(world, monkeypatch, *[f"{said}{END}"] * 8)
    how = GRPO.model_copy(update={"rewarded": REWARDED.model_copy(update={"per_row": 2})})
    with pytest.raises(TrainingError, match=rf"4 questions \(2 each, {numbers}"):
        world.train(how, new, tmp_path / "work")
    assert not (tmp_path / "work" / "adapter").exists()


def chance(world: World, adapter: Path, rows: Path) -> float:
    """Mean probability of drawing the accepted answer, token by token."""
    model, tokenizer = load_model(world.base, adapter)
    found = []
    for row in read_rows(rows, tokenizer, LORA.max_tokens).rows:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([row.ids])).logits[0, row.start - 1 : -1]
        logp = functional.log_softmax(logits / TEMPERATURE, dim=-1)
        picked = logp.gather(1, torch.tensor(row.ids[row.start :])[:, None])
        found.append(float(picked.sum().exp()))
    return sum(found) / len(found)


def test_right_answers_become_likelier_also_to_questions_that_were_not_asked(
    world: World, tmp_path: Path
) -> None:
    held_out = tiny_records(
        tmp_path / "held.parquet", [(f"Is it {n}?", "Yes.") for n in range(20, 30)]
    )
    found = world.train(GRPO, world.yes, tmp_path / "work")
    assert found.counts.rows["rollouts"] > 0 and "replay" not in found.counts.rows
    for rows in (world.yes, held_out):
        before = chance(world, world.parent, rows)
        assert before < 0.8
        assert chance(world, found.adapter, rows) > before + 0.05


def test_the_first_step_is_taken_at_the_old_policy(world: World, tmp_path: Path) -> None:
    """Every ratio is 1 there, and each group's advantages add up to nothing."""
    once = GRPO.model_copy(update={"epochs": 1, "rows_per_step": 1000})
    (step,) = world.train(once, world.yes, tmp_path).history
    assert step.losses == {"rollouts": pytest.approx(0.0, abs=1e-4)}
    assert step.gradient_norm > 1e-3


def test_the_kl_holds_the_model_to_its_parent(world: World, tmp_path: Path) -> None:
    held = REWARDED.model_copy(update={"kl_weight": 50.0})
    free = chance(world, world.train(GRPO, world.yes, tmp_path / "a").adapter, world.yes)
    how = GRPO.model_copy(update={"rewarded": held})
    kept = chance(world, world.train(how, world.yes, tmp_path / "b").adapter, world.yes)
    before = chance(world, world.parent, world.yes)
    assert abs(kept - before) < 0.5 * abs(free - before)


def test_a_killed_run_goes_on_against_the_parent_and_not_against_itself(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", 2)

    class Killed(Exception):
        pass

    def kill(seen: Progress) -> None:
        if seen.stage == "train" and seen.done == 5:
            raise Killed

    whole = world.train(GRPO, world.yes, tmp_path / "whole")
    with pytest.raises(Killed):
        world.train(GRPO, world.yes, tmp_path / "killed", progress=kill)
    assert list((tmp_path / "killed").glob("checkpoint-*"))
    again = world.train(GRPO, world.yes, tmp_path / "killed")
    assert again.digest == whole.digest and again.history == whole.history


def test_replayed_rows_are_learned_beside(world: World, tmp_path: Path) -> None:
    how = GRPO.model_copy(update={"replay": Replay(share=0.5), "epochs": 1})
    found = world.train(how, world.mixed, tmp_path, replay=world.yes)
    kept = found.counts.rows["rollouts"]
    assert found.counts.seen == {"new": 0, "rollouts": kept, "replay": kept // 2}
    assert set(found.history[0].losses) == {"rollouts", "replay"}
