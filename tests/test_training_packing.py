"""Packed rows are computed as if each stood alone; losses do not depend on the packing."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import MistralConfig, MistralForCausalLM

from tests.tiny import tiny_base
from tidegate.training.base import find_base, load_model
from tidegate.training.losses import cross_entropy, kl_to_teacher, top_k
from tidegate.training.methods import Term
from tidegate.training.packing import Item, concatenate, logits_at, pack, packs_exactly
from tidegate.training.plan import plan
from tidegate.training.row_attention import NAME, row_by_row
from tidegate.training.rows import Row


def row(name: str, length: int, answer: int) -> Row:
    tokens = torch.randint(3, 250, (length,), generator=torch.Generator().manual_seed(length))
    return Row(name, tuple(tokens.tolist()), length - answer)


ROWS = [row("a", 40, 7), row("b", 25, 20), row("c", 31, 1), row("d", 9, 8), row("e", 60, 30)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("base")
    return load_model(find_base(str(tiny_base(folder / "tiny")), folder))[0]


def full_logits(model: Any, row: Row) -> torch.Tensor:
    """One row, alone, with an attention mask and the whole head: the plain way."""
    ids = torch.tensor([row.ids])
    logits: torch.Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
    return logits[row.start - 1 : -1]


@torch.no_grad()
def same_when_packed(model: Any, rows: list[Row]) -> float:
    """The largest difference of a logit between rows packed together and rows alone."""
    (packed,) = pack([Item(r.id, r) for r in rows], 10_000)
    logits = logits_at(model, packed)
    return max(
        float((logits[packed.spans[r.id]] - full_logits(model, r)).abs().max()) for r in rows
    )


def test_packed_logits_equal_those_of_rows_alone(model: Any) -> None:
    assert same_when_packed(model, ROWS) < 1e-4
    assert packs_exactly(model, ROWS[0], ROWS[1])


@pytest.mark.slow
def test_packed_logits_equal_those_of_rows_alone_on_the_embedded_base(tmp_path: Path) -> None:
    real = load_model(find_base("smollm2-135m-instruct", tmp_path))[0]
    assert same_when_packed(real, ROWS) < 1e-3  # thirty layers of float32, logits of about 20
    assert packs_exactly(real, ROWS[0], ROWS[1])


def test_a_model_whose_rows_see_each_other_is_found_out(model: Any) -> None:
    class Leaky:
        """Numbers the positions through, so that attention crosses from row to row."""

        device, dtype = model.device, model.dtype

        def __call__(self, *, position_ids: torch.Tensor, **kwargs: Any) -> Any:
            through = torch.arange(position_ids.shape[1]).unsqueeze(0)
            return model(position_ids=through, **kwargs)

    assert not packs_exactly(Leaky(), ROWS[0], ROWS[1])


def test_packing_keeps_every_row_whole_and_within_the_limit() -> None:
    packs = pack([Item("new", r) for r in ROWS], 70)
    assert all(p.tokens <= 70 for p in packs) and len(packs) == 3
    assert sum(p.tokens for p in packs) == sum(len(r.ids) for r in ROWS)
    assert sum(len(p.targets) for p in packs) == sum(r.answer_tokens for r in ROWS)
    assert len(pack([Item("new", r) for r in ROWS], 0)) == len(ROWS)


def test_targets_are_the_answers_grouped_by_term() -> None:
    one = concatenate([Item("z", ROWS[0]), Item("a", ROWS[2]), Item("z", ROWS[3])])
    assert one.targets[one.spans["a"]].tolist() == list(ROWS[2].ids[ROWS[2].start :])
    assert one.targets[one.spans["z"]].tolist() == [
        *ROWS[0].ids[ROWS[0].start :],
        *ROWS[3].ids[ROWS[3].start :],
    ]
    # Each kept position stands right before its target.
    assert one.input_ids[0, one.keep + 1].tolist() == one.targets.tolist()


def test_cross_entropy_is_the_sum_over_the_answer(model: Any) -> None:
    with torch.no_grad():
        logits = full_logits(model, ROWS[1])
    targets = torch.tensor(ROWS[1].ids[ROWS[1].start :])
    by_hand = -functional.log_softmax(logits, -1)[range(len(targets)), targets].sum()
    assert cross_entropy(logits, targets) == pytest.approx(float(by_hand), rel=1e-5)


class TestDivergence:
    generator = torch.Generator().manual_seed(0)
    origin = torch.randn(6, 50, generator=generator) * 3
    model = torch.randn(6, 50, generator=generator) * 3

    def exact(self) -> float:
        p, q = (functional.log_softmax(x, -1) for x in (self.origin, self.model))
        return float((p.exp() * (p - q)).sum())

    def test_kept_probabilities_and_the_tail_add_up_to_one(self) -> None:
        kept = top_k(self.origin, 5)
        assert torch.allclose(kept.logp.exp().sum(-1) + kept.tail.exp(), torch.ones(6))

    def test_it_is_nothing_between_equals_and_so_is_its_gradient(self) -> None:
        same = self.origin.clone().requires_grad_()
        loss = kl_to_teacher(same, top_k(self.origin, 5))
        torch.autograd.backward(loss)
        assert float(loss.detach()) == pytest.approx(0, abs=1e-5)
        assert same.grad is not None and float(same.grad.abs().max()) < 1e-5

    def test_with_all_but_one_token_kept_it_is_the_exact_one(self) -> None:
        kept = top_k(self.origin, 49)
        assert float(kl_to_teacher(self.model, kept)) == pytest.approx(self.exact(), rel=1e-5)

    def test_a_bucket_for_the_tail_only_ever_lowers_it(self) -> None:
        found = [
            float(kl_to_teacher(self.model, top_k(self.origin, k))) for k in (1, 5, 20, 49)
        ]
        assert 0 < found[0] < found[1] < found[2] < found[3] + 1e-4

    def test_a_certain_origin_gives_no_infinity(self) -> None:
        certain = torch.full((1, 50), -200.0)
        certain[0, 3] = 200.0
        model = self.model[:1].clone().requires_grad_()
        loss = kl_to_teacher(model, top_k(certain, 5))
        torch.autograd.backward(loss)
        assert model.grad is not None
        assert torch.isfinite(loss) and torch.isfinite(model.grad).all()


class TestPlan:
    new = tuple(row(f"n{i}", 10 + i, 3) for i in range(10))
    others = tuple(row(f"o{i}", 30 + i, 3) for i in range(3))
    terms = (
        Term("new", "cross_entropy", 1.0, 1.0),
        Term("replay", "cross_entropy", 0.2, 1.0),
        Term("anchors", "kl_to_origin", 0.5, 1.0),
    )

    def made(self, seed: int = 0) -> list[list[Item]]:
        rows = {"new": self.new, "replay": self.others, "anchors": self.others}
        return plan(self.terms, rows, epochs=2, rows_per_step=4, seed=seed)  # type: ignore[arg-type]

    def test_each_epoch_sees_each_new_row_once_in_even_steps(self) -> None:
        steps = [[i.row.id for i in step if i.term == "new"] for step in self.made()]
        assert [len(step) for step in steps] == [4, 3, 3] * 2
        for epoch in (steps[:3], steps[3:]):
            assert sorted(name for step in epoch for name in step) == [r.id for r in self.new]

    @pytest.mark.parametrize(("term", "seen"), [("replay", 4), ("anchors", 10)])
    def test_shares_are_exact_over_the_steps(self, term: str, seen: int) -> None:
        names = [i.row.id for step in self.made() for i in step if i.term == term]
        assert len(names) == seen
        assert set(names[:3]) == {"o0", "o1", "o2"}  # each once before any twice

    def test_the_seed_alone_decides(self) -> None:
        assert self.made() == self.made()
        assert self.made(1) != self.made()


@pytest.mark.parametrize("window", [None, 5])
def test_rows_attend_as_under_the_models_own_mask(window: int | None, tmp_path: Path) -> None:
    """Full attention, and a sliding window that is shorter than the rows."""
    config = MistralConfig(
        vocab_size=259,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=window,
        initializer_range=0.2,
    )
    torch.manual_seed(0)
    model: Any = MistralForCausalLM(config).eval()
    one = concatenate([Item("new", r) for r in ROWS])
    given: dict[str, Any] = {"input_ids": one.input_ids, "position_ids": one.position_ids}
    gradients = []
    for apart in (False, True):
        model.zero_grad()
        with row_by_row(model, one.position_ids) if apart else contextlib.nullcontext():
            assert (model.config._attn_implementation == NAME) is apart
            logits = model(**given, use_cache=False).logits
        torch.autograd.backward(logits.square().mean())
        gradients.append((logits.detach(), model.model.embed_tokens.weight.grad.clone()))
    assert model.config._attn_implementation == "sdpa"
    for whole, cut in zip(*gradients, strict=True):
        assert bool(whole.any())
        assert torch.allclose(whole, cut, rtol=1e-3, atol=1e-5)
    if window:
        config.sliding_window = None
        free = model(**given, use_cache=False).logits
        assert not torch.allclose(free, gradients[1][0], atol=1e-2), "the window matters"
