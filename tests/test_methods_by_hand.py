"""What methods compute, against numbers worked out by hand or the long way."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from torch import Tensor

from tests.tiny import tiny_base, tiny_records
from tidegate.training.adapter import save_adapter
from tidegate.training.base import Base, BaseError, find_base, load_model
from tidegate.training.blend import blend
from tidegate.training.fisher import Consolidation, Factored, Full, adapted
from tidegate.training.losses import cross_entropy
from tidegate.training.methods import Penalty, Term
from tidegate.training.packing import Item, concatenate, logits_at, pack
from tidegate.training.preference import dpo, kto, read_pairs, read_ratings, referenced
from tidegate.training.rows import Row
from tidegate.training.step import backward

RANK, ALPHA = 4, 8


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    folder = tmp_path_factory.mktemp("base")
    return find_base(str(tiny_base(folder / "tiny")), folder)


def adapted_model(base: Base, seed: int, *, rank: int = RANK) -> Any:
    """The base with random factors on two of its layers."""
    torch.manual_seed(seed)
    config = LoraConfig(r=rank, lora_alpha=ALPHA, target_modules=["q_proj", "down_proj"])
    model: Any = get_peft_model(load_model(base)[0], config)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=0.1)
    return model


def deltas(folder: Path) -> dict[str, Tensor]:
    weights = load_file(folder / "adapter_model.safetensors")
    return {
        name: weights[name.replace("lora_A", "lora_B")] @ a
        for name, a in weights.items()
        if "lora_A" in name
    }


class TestBlend:
    """Between two adapters that were trained apart: the hardest case for one rank."""

    @pytest.fixture
    def ends(self, base: Base, tmp_path: Path) -> tuple[Path, Path]:
        for name, seed in (("parent", 1), ("trained", 2)):
            save_adapter(adapted_model(base, seed), base, tmp_path / name)
        return tmp_path / "parent", tmp_path / "trained"

    def test_it_is_the_best_of_its_rank_and_says_what_it_lost(
        self, ends: tuple[Path, Path], tmp_path: Path
    ) -> None:
        parent, trained = ends
        made = blend(parent, trained, 0.3, tmp_path / "blend")
        old, new, found = (deltas(p) for p in (parent, trained, made.adapter))
        lost = moved = 0.0
        for name in old:
            exact = 0.7 * old[name] + 0.3 * new[name]
            tail = torch.linalg.svdvals(exact.double())[RANK:]
            error = float((found[name] - exact).square().sum())
            assert error == pytest.approx(float(tail.square().sum()), rel=1e-4)
            lost += error
            moved += float((0.3 * (new[name] - old[name])).square().sum())
        assert made.error == pytest.approx(math.sqrt(lost / moved), rel=1e-4)
        assert made.error > 0.1

    def test_without_a_parent_it_is_exact(
        self, ends: tuple[Path, Path], tmp_path: Path
    ) -> None:
        made = blend(None, ends[1], 0.25, tmp_path / "blend")
        whole, part = deltas(ends[1]), deltas(made.adapter)
        assert made.error == 0
        assert all(torch.allclose(part[n], 0.25 * whole[n], atol=1e-7) for n in whole)

    def test_the_whole_way_changes_no_byte(
        self, ends: tuple[Path, Path], tmp_path: Path
    ) -> None:
        made = blend(*ends, 1.0, tmp_path / "blend")
        for file in ("adapter_model.safetensors", "adapter_config.json"):
            assert (made.adapter / file).read_bytes() == (ends[1] / file).read_bytes()

    def test_where_only_b_moved_nothing_is_cut(self, base: Base, tmp_path: Path) -> None:
        model = adapted_model(base, 1)
        save_adapter(model, base, tmp_path / "parent")
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "lora_B" in name:
                    weight += 0.05
        save_adapter(model, base, tmp_path / "trained")
        made = blend(tmp_path / "parent", tmp_path / "trained", 0.5, tmp_path / "blend")
        assert made.error == 0
        old, new, found = (deltas(tmp_path / n) for n in ("parent", "trained", "blend"))
        assert all(torch.allclose(found[n], (old[n] + new[n]) / 2, atol=1e-6) for n in old)

    def test_another_shape_is_refused(
        self, ends: tuple[Path, Path], base: Base, tmp_path: Path
    ) -> None:
        save_adapter(adapted_model(base, 3, rank=2), base, tmp_path / "other")
        with pytest.raises(BaseError, match="of another shape than its parent"):
            blend(tmp_path / "other", ends[1], 0.5, tmp_path / "blend")


class TestFisher:
    ROWS = tuple(Row(str(n), tuple(range(3, 3 + n)), n // 2) for n in (8, 13))

    @pytest.mark.parametrize("form", ["full", "factored"])
    def test_it_is_of_the_merged_weights(self, form: Any, base: Base) -> None:
        """Against autograd on the merged matrix itself, one answer at a time."""
        model = adapted_model(base, 1)
        penalty = Consolidation(model, self.ROWS, Penalty("anchors", 1.0, form))
        merged = model.merge_and_unload()
        for parameter in merged.parameters():
            parameter.requires_grad_(True)
        layers = [
            m
            for n, m in merged.named_modules()
            if n.rsplit(".", 1)[-1] in ("q_proj", "down_proj")
        ]
        assert len(layers) == len(penalty.held) == 4
        long_way = [torch.zeros_like(layer.weight) for layer in layers]
        for row in self.ROWS:
            one = concatenate([Item("row", row)])
            merged.zero_grad()
            torch.autograd.backward(cross_entropy(logits_at(merged, one), one.targets))
            for total, layer in zip(long_way, layers, strict=True):
                total += layer.weight.grad.square()
        tokens = sum(row.answer_tokens for row in self.ROWS)
        for held, total in zip(penalty.held, long_way, strict=True):
            if isinstance(held.fisher, Full):
                assert torch.allclose(held.fisher.fisher, total / tokens, rtol=1e-3, atol=1e-7)
            else:
                assert isinstance(held.fisher, Factored)
                assert torch.allclose(held.fisher.rows, total.sum(1) / tokens, rtol=1e-3)
                assert torch.allclose(
                    held.fisher.columns, total.sum(0) / total.sum(), rtol=1e-3
                )

    def test_the_penalty_by_hand(self) -> None:
        """F = [[1, 2], [2, 4]] = (3, 6) x (1/3, 2/3); W moves from 0 to (1, 1) x (1, 2)."""
        b, a = torch.tensor([[1.0], [1.0]]), torch.tensor([[1.0, 2.0]])
        b0, a0 = torch.zeros(2, 1), a + 5
        for form in (Full(torch.zeros(2, 2)), Factored(torch.zeros(2, 2))):
            form.add(torch.tensor([[2.0, 4.0], [4.0, 8.0]]))
            form.divide(2)
            # 1*1 + 2*4 + 2*1 + 4*4
            assert float(form.cost(b, a, b0, a0)) == pytest.approx(27.0)

    def test_it_costs_nothing_at_the_parent_and_pulls_back_to_it(self, base: Base) -> None:
        model = adapted_model(base, 1)
        penalty = Consolidation(model, self.ROWS, Penalty("anchors", 3.0, "full"))
        assert penalty.backward() == 0
        layer = next(adapted(model))
        b = layer.lora_B["default"].weight
        with torch.no_grad():
            b += 0.01
        model.zero_grad()
        assert penalty.backward() > 0
        assert float((b.grad * 0.01).sum()) > 0  # downhill is back where it came from


class TestPreference:
    def test_the_losses_by_hand(self) -> None:
        """DPO of ratios 2 and -1 at beta 0.5: -log sigmoid(1.5) = 0.2014; KTO: see below."""
        found = float(dpo(torch.tensor([2.0]), torch.tensor([-1.0]), 0.5))
        assert found == pytest.approx(0.20141, abs=1e-5)
        # wanted: 1 - sigmoid(0.5 * (2 - 1)); unwanted: 1 - sigmoid(0.5 * (1 - -1))
        found = float(kto(torch.tensor([2.0, -1.0]), torch.tensor([True, False]), 1.0, 0.5))
        assert found == pytest.approx(0.37754 + 0.26894, abs=1e-5)

    def test_corrections_are_pairs_and_thumbs_are_ratings(
        self, base: Base, tmp_path: Path
    ) -> None:
        path = tiny_records(
            tmp_path / "rows.parquet",
            [("a?", "right"), ("b?", "fine"), ("c?", "same")],
            said=["wrong", None, "same"],
        )
        _, tokenizer = load_model(base)

        def answer(row: Row | None) -> str:
            assert row is not None
            return str(tokenizer.decode(row.ids[row.start : -1]))

        (pair,) = read_pairs(path, tokenizer, 256).rows
        assert (answer(pair), answer(pair.other)) == ("right", "wrong")
        rated = read_ratings(path, tokenizer, 256).rows
        assert [(answer(r), r.wanted) for r in rated[:2]] == [("right", True), ("wrong", False)]
        assert answer(rated[0].other) == "wrong"  # the next one's answer, to its own prompt

    @pytest.mark.parametrize("loss", ["dpo", "kto"])
    def test_the_loop_does_not_depend_on_packing_and_starts_where_theory_says(
        self, loss: Any, base: Base, tmp_path: Path
    ) -> None:
        path = tiny_records(
            tmp_path / "rows.parquet",
            [(f"{i}?", f"right {i}") for i in range(3)],
            said=[f"wrong {i}" for i in range(3)],
        )
        source: Any = {"dpo": "pairs", "kto": "ratings"}[loss]
        read = {"dpo": read_pairs, "kto": read_ratings}[loss]
        gradients, losses = [], []
        for limit in (0, 256, 4096):
            model = adapted_model(base, 1)
            _, tokenizer = load_model(base)
            rows = referenced(model, read(path, tokenizer, 256).rows)
            items = [Item(source, row) for row in rows]
            found = backward(
                model, (Term(source, loss, 1.0, 1.0),), pack(items, limit), beta=0.3
            )
            losses.append(found[source])
            gradients.append(next(adapted(model)).lora_B["default"].weight.grad.clone())
        assert losses == pytest.approx([losses[0]] * 3, rel=1e-4)
        assert torch.allclose(gradients[0], gradients[1], atol=1e-5)
        assert torch.allclose(gradients[0], gradients[2], atol=1e-5)

    @pytest.mark.parametrize(("loss", "expected"), [("dpo", math.log(2)), ("kto", 0.5)])
    def test_an_untrained_adapter_prefers_nothing(
        self, loss: Any, expected: float, base: Base, tmp_path: Path
    ) -> None:
        path = tiny_records(tmp_path / "r.parquet", [("a?", "yes"), ("b?", "no")], said="xy")
        model: Any = get_peft_model(
            load_model(base)[0], LoraConfig(r=2, target_modules=["q_proj"])
        )
        _, tokenizer = load_model(base)
        read = {"dpo": read_pairs, "kto": read_ratings}[loss]
        rows = referenced(model, read(path, tokenizer, 256).rows)
        term = Term("new", loss, 1.0, 1.0)
        found = backward(model, (term,), pack([Item("new", r) for r in rows], 0), beta=0.1)
        assert found == {"new": pytest.approx(expected, abs=1e-4)}
