"""Cartridges: the loss, the frozen sink, who is refused, and that every way to run one agrees."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lm_eval.models.huggingface import HFLM
from safetensors.torch import load_file
from torch.nn import functional

from tests.tiny import tiny_base, tiny_records
from tidegate.evals.probes.forward import forward, longest
from tidegate.evals.scorer import Scorer
from tidegate.flows.asking.ask import greedy
from tidegate.flows.asking.prompt import room_of
from tidegate.flows.loaded import load_measured
from tidegate.flows.serving import probe_serving
from tidegate.gates.digest import digest_folder
from tidegate.gates.types import Progress, ignore_progress
from tidegate.training import train as loop
from tidegate.training.base import BaseError, find_base, load_model
from tidegate.training.kinds import kind_of, made_by
from tidegate.training.recipe import Cartridge, Recipe, Replay, load_recipe
from tidegate.training.rows import Row, ask, encode, read_rows
from tidegate.training.self_study import parts_of, read_exchanges
from tidegate.training.test_time import TestTime, adapted
from tidegate.training.train import train
from tidegate.training.trained import Trained, TrainingError
from tidegate.training.written import read_written

pytestmark = pytest.mark.usefixtures("one_thread")

HERE = Path(__file__).parent / "recipes"
LORA = load_recipe(HERE / "good.yaml").model_copy(
    update={
        "method": "lora",
        "anchors": None,
        "max_tokens": 256,
        "targets": ("q_proj", "v_proj"),
    }
)
TOKENS = 16
SECTION: dict[str, Any] = {
    "tokens": TOKENS, "corpus_tokens": 160, "asked": 1, "top_k": 258, "max_new_tokens": 12,
}  # fmt: skip
CARTRIDGE = LORA.model_copy(
    update={
        "method": "cartridge",
        "rank": None,
        "alpha": None,
        "targets": None,
        "learning_rate": 0.05,
        "epochs": 8,
        "rows_per_step": 4,
        "cartridge": Cartridge(**SECTION),
    }
)


def recipe(**changes: Any) -> Recipe:
    return CARTRIDGE.model_copy(update={"cartridge": Cartridge(**{**SECTION, **changes})})


class World:
    """A tiny base, a batch of ten exchanges and a cartridge of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base = find_base(str(tiny_base(folder / "tiny")), folder)
        self.new = tiny_records(
            folder / "new.parquet", [(f"What is {i}?", f"It is {i}.") for i in range(10)]
        )
        self.next = tiny_records(
            folder / "next.parquet", [(f"Who is {i}?", f"Ada {i}.") for i in range(6)], first=50
        )
        self.done: dict[str, Trained] = {}

    def train(
        self,
        how: Recipe,
        name: str,
        parent: Path | None = None,
        *,
        new: Path | None = None,
        replay: Path | None = None,
        progress: Callable[[Progress], None] = ignore_progress,
    ) -> Trained:
        if name not in self.done:
            self.done[name] = train(
                how,
                self.base,
                parent=parent,
                new=new or self.new,
                replay=replay,
                anchors=None,
                work=self.folder / name,
                progress=progress,
            )
        return self.done[name]

    @property
    def first(self) -> Trained:
        return self.train(CARTRIDGE, "first")

    def written(self, name: str) -> tuple[Row, ...]:
        (folder,) = (self.folder / name / "rollouts").iterdir()
        return read_written(folder)

    def prefix(self, adapter: Path) -> torch.Tensor:
        return load_file(adapter / "adapter_model.safetensors")["prompt_embeddings"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("cartridge"))


def prompt(text: str, tokenizer: Any, before: Sequence[tuple[str, str]] = ()) -> list[int]:
    turns = [{"role": role, "content": said} for role, said in (*before, ("user", text))]
    return encode(str(ask(turns, tokenizer)), tokenizer)


def test_it_comes_closer_to_the_base_that_reads_the_batch(world: World) -> None:
    losses = [step.losses["rollouts"] for step in world.first.history]
    assert sum(losses[-3:]) < 0.6 * sum(losses[:3])
    counts = world.first.counts
    written = counts.rollouts
    assert written["questions"] == 10 and written["parts of the corpus"] > 1
    assert (
        written["asked itself"] + counts.skipped.get("rollouts: asked itself nothing", 0)
        == (written["parts of the corpus"])
    )
    assert counts.rows["rollouts"] == written["kept"] == written["answers"]
    assert counts.seen["new"] == 0, "what was accepted is in the context and no target"


def test_the_first_loss_is_the_kl_to_the_teacher_worked_out_the_long_way(world: World) -> None:
    """One step over all rows, with the whole vocabulary; the student is the untrained cartridge."""
    once = recipe(asked=0).model_copy(update={"epochs": 1, "rows_per_step": 100})
    found = world.train(once, "once")
    base, tokenizer = load_model(world.base)
    still = once.model_copy(update={"learning_rate": 1e-12})
    student, _ = load_model(world.base, world.train(still, "still").adapter)

    def says(model: Any, ids: list[int], answer: tuple[int, ...]) -> torch.Tensor:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([[*ids, *answer]])).logits[0]
        return functional.log_softmax(logits[len(ids) - 1 : -1].double(), dim=-1)

    exchanges, _ = read_exchanges(world.new, tokenizer, once, Cartridge(**SECTION))
    parts, _ = parts_of(exchanges, tokenizer, SECTION["corpus_tokens"])
    shown = {one.id: part for part in parts for one in part}
    total = apart = tokens = 0.0
    for row in world.written("once"):
        own = int(row.id.partition(".")[0][1:])
        before = [
            turn
            for n in (int(one.id[1:]) for one in shown[f"r{own:04}"])
            for turn in (("user", f"What is {n}?"), ("assistant", f"It is {n}."))
        ]
        told = prompt(f"What is {own}?", tokenizer, before)
        answer = row.ids[row.start :]
        assert list(row.ids[: row.start]) == prompt(f"What is {own}?", tokenizer)
        teacher = says(base, told, answer)
        alone = says(base, list(row.ids[: row.start]), answer)
        mine = says(student, list(row.ids[: row.start]), answer)
        total += float((teacher.exp() * (teacher - mine)).sum())
        apart += float((teacher.exp() * (teacher - alone)).sum())
        tokens += len(answer)
    assert found.history[0].losses == {"rollouts": pytest.approx(total / tokens, rel=1e-3)}
    assert apart / tokens > 0.01, "with the batch before it the base answers otherwise"


def test_it_begins_as_the_text_and_the_first_token_stays(world: World) -> None:
    base, tokenizer = load_model(world.base)
    ids = torch.tensor([prompt("What is 0?", tokenizer)[:TOKENS]])
    with torch.no_grad():
        cache = base(input_ids=ids, use_cache=True).past_key_values
    begun = torch.stack([t for layer in cache.layers for t in (layer.keys, layer.values)])
    begun = begun[:, 0].permute(2, 0, 1, 3).reshape(TOKENS, -1)
    after = world.prefix(world.first.adapter)
    assert torch.allclose(after[0], begun[0], atol=1e-5)
    assert (after[1:] - begun[1:]).abs().amax(dim=1).min() > 1e-2


def test_the_folder_is_peft_s_own_and_says_its_kind(world: World) -> None:
    folder = world.first.adapter
    assert {path.name for path in folder.iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors",
    }  # fmt: skip
    config = json.loads((folder / "adapter_config.json").read_bytes())
    assert (config["peft_type"], config["num_virtual_tokens"]) == ("CARTRIDGE", TOKENS)
    assert kind_of(folder) == made_by(CARTRIDGE) == "cartridge"
    (folder.parent / "other").mkdir()
    for name, text in (
        ("adapter_config.json", '{"peft_type": "VERA"}'),
        ("adapter_model.safetensors", ""),
    ):
        (folder.parent / "other" / name).write_text(text)
    with pytest.raises(BaseError, match="'VERA'; an adapter is one of LORA, CARTRIDGE"):
        kind_of(folder.parent / "other")


def test_equal_inputs_give_equal_bytes(world: World) -> None:
    again = world.train(CARTRIDGE, "again")
    assert digest_folder(again.adapter) == digest_folder(world.first.adapter)


@pytest.mark.parametrize(
    ("stage", "done"), [("ask itself", 3), ("self-study", 8), ("train", 6)]
)
def test_a_killed_run_ends_with_the_same_bytes(
    stage: str, done: int, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", 4)

    class Killed(Exception):
        pass

    def kill(seen: Progress) -> None:
        if seen.stage == stage and seen.done >= done:
            raise Killed

    name = f"killed at {stage}"
    with pytest.raises(Killed):
        world.train(CARTRIDGE, name, progress=kill)
    assert bool(list((world.folder / name).glob("checkpoint-*"))) == (stage == "train")
    ended = world.train(CARTRIDGE, name)
    assert digest_folder(ended.adapter) == digest_folder(world.first.adapter)


def test_rows_are_not_packed_behind_a_cartridge(world: World) -> None:
    """Behind keys and values transformers draws no borders between packed rows."""
    assert not world.first.packed


class TestRunning:
    """A model behind a cartridge answers alike, however it is run."""

    def test_generating_is_reading_token_by_token(self, world: World) -> None:
        model, tokenizer = load_model(world.base, world.first.adapter)
        ids = prompt("What is 3?", tokenizer)
        said, _ = greedy(model, tokenizer, tuple(ids), 8, ignore_progress)
        read = list(ids)
        with torch.no_grad():
            while len(read) < len(ids) + len(said):
                read.append(int(model(input_ids=torch.tensor([read])).logits[0, -1].argmax()))
        bare, _ = load_model(world.base)
        base, _ = greedy(bare, tokenizer, tuple(ids), 8, ignore_progress)
        assert said == read[len(ids) :] != base

    def test_there_is_nothing_to_add_into_the_weights_when_it_is_measured(
        self, world: World
    ) -> None:
        ids = torch.tensor([[5, 9, 2, 7]])
        loads = (load_measured, load_model)
        with torch.no_grad():
            measured, served = (
                load(world.base, world.first.adapter)[0](input_ids=ids).logits for load in loads
            )
        assert torch.equal(measured, served)

    def test_padding_on_the_left_changes_nothing(self, world: World) -> None:
        model, tokenizer = load_model(world.base, world.first.adapter)
        both = [prompt(text, tokenizer) for text in ("Hm?", "What is 3, please?")]
        width = max(map(len, both))
        ids = torch.tensor([[0] * (width - len(one)) + one for one in both])
        mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in both])
        how: dict[str, Any] = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None}
        out = model.generate(input_ids=ids, attention_mask=mask, **how)
        for one, together in zip(both, out[:, width:].tolist(), strict=True):
            alone = model.generate(input_ids=torch.tensor([one]), **how)
            assert alone[0, len(one) :].tolist() == together

    def test_the_scorer_s_trees_are_lm_eval_s_rows(self, world: World) -> None:
        """The same settings as for a base, so that a candidate can be compared with it."""
        model, tokenizer = load_model(world.base, world.first.adapter)
        scorer = Scorer(model, tokenizer)
        assert scorer.how == Scorer(*load_model(world.base)).how == "tree of 384 tokens"
        rows = read_rows(world.new, tokenizer, 256).rows
        requests: list[Any] = [
            (None, list(r.ids[: r.start]), list(r.ids[r.start :])) for r in rows
        ]
        ours = scorer._loglikelihood_tokens(requests)
        stock = HFLM._loglikelihood_tokens(scorer, requests, disable_tqdm=True)
        base = Scorer(*load_model(world.base))._loglikelihood_tokens(requests)
        for mine, theirs, bare in zip(ours, stock, base, strict=True):
            assert mine[0] == pytest.approx(theirs[0], abs=1e-4) and mine[1] == theirs[1]
            assert abs(mine[0] - bare[0]) > 1e-2

    def test_rows_that_are_padded_for_a_probe_are_read_as_alone(self, world: World) -> None:
        model, tokenizer = load_model(world.base, world.first.adapter)
        subject: Any = SimpleNamespace(model=model)
        rows = [prompt(text, tokenizer) for text in ("Hm?", "What is 3, please?")]
        with torch.no_grad():
            found = forward(subject, rows, 0)
            for row, logits in zip(rows, found, strict=True):
                alone = model(input_ids=torch.tensor([row])).logits[0]
                assert torch.allclose(logits[: len(row)], alone, atol=1e-4)

    def test_a_prompt_has_less_room_behind_it(self, world: World) -> None:
        model, tokenizer = load_model(world.base, world.first.adapter)
        assert Scorer(model, tokenizer).max_length == 512 - TOKENS == room_of(model, tokenizer)
        subject: Any = SimpleNamespace(model=model)
        assert longest(subject) == 512 - TOKENS

    def test_it_serves_in_another_process_and_has_a_size(
        self, world: World, tmp_path: Path
    ) -> None:
        loaded = load_model(world.base, world.first.adapter)
        measured, broken = probe_serving(world.base, world.first.adapter, *loaded)
        found = {one.name: one.value for one in measured}
        assert not broken and found["serves.reload_difference"] < 1e-5
        assert 0 < found["serves.delta_norm"] < 2

    def test_nothing_is_learned_beside_it(self, world: World) -> None:
        model, _ = load_model(world.base, world.first.adapter)
        with (
            pytest.raises(BaseError, match="ask without --ttt"),
            adapted(model, [5, 6], TestTime()),
        ):
            pass


class TestALine:
    """What continues from what."""

    def test_an_update_begins_at_the_parent_s_and_replays(self, world: World) -> None:
        how = CARTRIDGE.model_copy(update={"replay": Replay(share=0.5), "epochs": 1})
        still = how.model_copy(update={"learning_rate": 1e-12})
        parent = world.first.adapter
        kept = world.train(still, "still second", parent, new=world.next, replay=world.new)
        assert torch.allclose(world.prefix(kept.adapter), world.prefix(parent), atol=1e-6)
        found = world.train(how, "second", parent, new=world.next, replay=world.new)
        assert set(found.history[0].losses) == {"rollouts", "replay"}
        assert found.counts.seen["replay"] > 0
        other = world.train(how, "other", new=world.next, replay=world.new)
        assert other.digest != found.digest
        # The base wrote, whatever the parent's cartridge holds.
        wrote = [
            digest_folder(world.folder / name / "rollouts") for name in ("second", "other")
        ]
        assert wrote[0] == wrote[1]

    @pytest.mark.parametrize(
        ("parent", "how", "says"),
        [
            (
                "lora",
                CARTRIDGE,
                "a LoRA, and the method 'cartridge' makes a cartridge.*--model",
            ),
            ("first", LORA, "a cartridge, and the method 'lora' makes a LoRA.*--model"),
            (
                "first",
                recipe(tokens=8),
                "has 16 tokens, 1 of them frozen; the recipe asks for 8",
            ),
        ],
    )
    def test_another_kind_or_shape_is_not_continued(
        self, parent: str, how: Recipe, says: str, world: World, tmp_path: Path
    ) -> None:
        from_ = world.train({"lora": LORA, "first": CARTRIDGE}[parent], parent).adapter
        with pytest.raises(BaseError, match=says):
            train(
                how, world.base, parent=from_, new=world.new, replay=None, anchors=None,
                work=tmp_path,
            )  # fmt: skip
        assert not (tmp_path / "adapter").exists()

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"tokens": 150}, "begins with a part of .* tokens, and a cartridge of 150"),
            ({"corpus_tokens": 16}, "no exchange is of at most 16 tokens"),
            ({"tokens": 300, "corpus_tokens": 400}, "more than the 512 that the base was made"),
            ({"corpus_tokens": 700}, "10 no room for the corpus"),
        ],
    )
    def test_what_has_no_room_is_refused(
        self, changes: dict[str, int], says: str, world: World, tmp_path: Path
    ) -> None:
        long = tiny_records(
            tmp_path / "long.parquet", [(f"What is {i}?", f"It is {i}. " + "y" * 20) for i in range(10)]
        )  # fmt: skip
        with pytest.raises(TrainingError, match=says):
            train(
                recipe(**{"asked": 0, **changes}), world.base, parent=None, new=long, replay=None,
                anchors=None, work=tmp_path / "work",
            )  # fmt: skip
