"""Learning from what the parent writes: what is kept, what it is compared with, and that it is
the same each time."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from tests.tiny import tiny_base, tiny_records
from tidegate.gates.digest import digest_folder
from tidegate.gates.types import Progress, ignore_progress
from tidegate.training import writer
from tidegate.training.base import find_base, load_model
from tidegate.training.recipe import (
    Demonstrated,
    Recipe,
    Replay,
    Rewarded,
    Verified,
    load_recipe,
)
from tidegate.training.rollouts import DEMONSTRATION, HINT
from tidegate.training.rows import Row, ask, encode
from tidegate.training.train import train
from tidegate.training.trained import Trained, TrainingError
from tidegate.training.verifiers import VERIFIERS
from tidegate.training.written import read_written

pytestmark = pytest.mark.usefixtures("one_thread")

LORA = load_recipe(Path(__file__).parent / "recipes" / "good.yaml").model_copy(
    update={
        "method": "lora",
        "anchors": None,
        "max_tokens": 320,
        "targets": ("q_proj", "v_proj", "down_proj"),
        "learning_rate": 0.02,
    }
)
SHORT: dict[str, Any] = {"max_new_tokens": 12}
# At 32 dimensions no token is ever nearly certain, so what is to be right is drawn coldly.
COLD: dict[str, Any] = {**SHORT, "temperature": 0.1}


def recipe(method: str, **changes: Any) -> Recipe:
    return LORA.model_copy(update={"method": method, **changes})


SDFT = recipe("sdft", demonstrated=Demonstrated(top_k=258, **SHORT), rows_per_step=100)
STAR = recipe("star", verified=Verified(hint=False, **COLD))
GRPO = recipe("grpo", rewarded=Rewarded(temperature=0.5, **SHORT))
HINTED = recipe("star", verified=Verified(per_row=1, **COLD))


class World:
    """A tiny base, and a parent that has learned to answer everything with Yes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base = find_base(str(tiny_base(folder / "tiny")), folder)
        yes = [(f"Is it {i}?", "Yes.") for i in range(16)]
        taught = tiny_records(folder / "first.parquet", yes)
        hot = LORA.model_copy(update={"epochs": 24})
        self.parent = self.train(hot, taught, folder / "parent", None).adapter
        self.yes = tiny_records(folder / "yes.parquet", yes[:6])
        self.mixed = tiny_records(
            folder / "mixed.parquet", [*yes[:5], *((f"And {i}?", "Zebra.") for i in range(3))]
        )

    def train(
        self,
        how: Recipe,
        new: Path,
        work: Path,
        parent: Path | None | str = "",
        *,
        replay: Path | None = None,
        progress: Callable[[Progress], None] = ignore_progress,
    ) -> Trained:
        return train(
            how,
            self.base,
            parent=self.parent if isinstance(parent, str) else parent,
            new=new,
            replay=replay,
            anchors=None,
            work=work,
            progress=progress,
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("rollouts"))


def folder_of(work: Path) -> Path:
    (folder,) = (work / "rollouts").iterdir()
    return folder


def written(work: Path) -> tuple[Row, ...]:
    return read_written(folder_of(work))


class Scripted:
    """Answers that a test gives instead of the model; it remembers what was asked."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch, *answers: str) -> None:
        self.tokenizer = load_model(world.base)[1]
        self.answers, self.asked = [*answers], list[str]()
        monkeypatch.setattr(writer, "sample", self.sample)

    def sample(
        self, _model: Any, _tokenizer: Any, prompts: Sequence[Sequence[int]], _how: Any
    ) -> list[list[int]]:
        self.asked += [self.tokenizer.decode(list(ids)) for ids in prompts]
        said = [self.answers.pop(0) for _ in prompts]
        return [self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in said]


END = "<|im_end|>"


def test_sdft_minimises_the_kl_to_the_parent_that_is_shown_the_answer(
    world: World, tmp_path: Path
) -> None:
    """One step over all rows: its loss is worked out here with the whole vocabulary."""
    once = SDFT.model_copy(update={"epochs": 1})
    found = world.train(once, world.mixed, tmp_path)
    model, tokenizer = load_model(world.base, world.parent)

    def says(prompt: list[int], answer: tuple[int, ...]) -> torch.Tensor:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([[*prompt, *answer]])).logits[0]
        return functional.log_softmax(logits[len(prompt) - 1 : -1].double(), dim=-1)

    asked = {f"r{i:04}": (f"Is it {i}?", "Yes.") for i in range(5)}
    asked |= {f"r{i + 5:04}": (f"And {i}?", "Zebra.") for i in range(3)}
    total = tokens = 0.0
    for row in written(tmp_path):
        question, accepted = asked[row.id.partition(".")[0]]
        answer = row.ids[row.start :]
        prompts = [
            encode(str(ask([{"role": "user", "content": text}], tokenizer)), tokenizer)
            for text in (
                question,
                DEMONSTRATION.format(question=question, accepted=accepted),
            )
        ]
        assert list(row.ids[: row.start]) == prompts[0]
        student, teacher = (says(prompt, answer) for prompt in prompts)
        total += float((teacher.exp() * (teacher - student)).sum())
        tokens += len(answer)
    assert found.history[0].losses == {"rollouts": pytest.approx(total / tokens, rel=1e-3)}
    assert total / tokens > 0.01


def test_sdft_comes_closer_to_its_teacher(world: World, tmp_path: Path) -> None:
    found = world.train(SDFT.model_copy(update={"epochs": 12}), world.mixed, tmp_path)
    losses = [step.losses["rollouts"] for step in found.history]
    assert losses[-1] < 0.5 * losses[0]
    assert found.counts.seen == {"new": 0, "rollouts": 8 * 12}
    assert found.counts.rollouts == {"questions": 8, "answers": 8, "kept": 8}


def test_a_demonstration_without_room_is_counted_and_none_at_all_is_an_error(
    world: World, tmp_path: Path
) -> None:
    long = tiny_records(tmp_path / "long.parquet", [("Is it?", "Yes."), ("Is it?", "y" * 200)])
    found = world.train(SDFT, long, tmp_path / "one")
    assert found.counts.skipped["rollouts: no room for the demonstration"] == 1
    assert {row.id for row in written(tmp_path / "one")} == {"r0000.0"}
    for length, why in ((120, "1 no room for the demonstration"), (210, "for another answer")):
        none = tiny_records(tmp_path / f"{length}.parquet", [("y" * length, "y" * 110)])
        with pytest.raises(TrainingError, match=why):
            world.train(SDFT, none, tmp_path / f"none {length}")


def test_star_learns_the_right_answers_and_counts_what_had_none(
    world: World, tmp_path: Path
) -> None:
    found = world.train(STAR, world.mixed, tmp_path)
    _, tokenizer = load_model(world.base)
    rows = written(tmp_path)
    for row in rows:
        said = tokenizer.decode(row.ids[row.start :])
        assert VERIFIERS["normalised"](said.removesuffix(END), "Yes.") and said.endswith(END)
    assert {row.id.partition(".")[0] for row in rows} == {f"r{n:04}" for n in range(5)}
    assert len({row.ids for row in rows}) == len(rows)
    assert found.counts.skipped == {"rollouts: no right answer": 3}
    counts = found.counts.rollouts
    assert (counts["questions"], counts["answers"], counts["kept"]) == (8, 32, len(rows))
    assert len(rows) < counts["right"] <= 20  # an answer that was right twice is learned once
    assert found.counts.seen == {"new": 0, "rollouts": len(rows) * STAR.epochs}


def test_a_base_that_knows_nothing_teaches_itself_nothing(world: World, tmp_path: Path) -> None:
    both = STAR.model_copy(update={"verified": Verified(per_row=2, **COLD)})
    with pytest.raises(TrainingError, match=r"8 questions \(2 each, and 8 with the answer"):
        world.train(both, world.mixed, tmp_path, None)
    assert not (tmp_path / "adapter").exists()


def test_what_a_hint_led_to_is_learned_without_the_hint(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = tiny_records(
        tmp_path / "new.parquet", [("Is it?", "Yes."), ("Why?", "So."), ("X?", "Y")]
    )
    script = Scripted(
        world, monkeypatch, *(f"{a}{END}" for a in ("yes", "No", "n", "so!", "n"))
    )
    found = world.train(HINTED, new, tmp_path / "work")
    hint = HINT.format(question="Why?", accepted="So.")
    assert [hint in text for text in script.asked] == [False, False, False, True, False]
    assert not any("Hint" in text for text in script.asked[:3])
    rows = [script.tokenizer.decode(row.ids) for row in written(tmp_path / "work")]
    assert rows == [
        f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n{answer}{END}"
        for question, answer in (("Is it?", "yes"), ("Why?", "so!"))
    ]
    counts = found.counts.rollouts
    assert counts["right"] == counts["right with a hint"] == 1 and counts["hinted"] == 2
    assert found.counts.skipped == {"rollouts: no right answer": 1}


@pytest.mark.parametrize(
    "answer", ["Yes.", f"Yes.<|im_start|>{END}", f"<|endoftext|>Yes.{END}", END]
)
def test_an_answer_that_is_cut_or_hides_structure_is_not_right(
    answer: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = tiny_records(tmp_path / "new.parquet", [("Is it?", "Yes."), ("Is it so?", "Yes.")])
    once = STAR.model_copy(update={"verified": Verified(per_row=1, hint=False, **COLD)})
    Scripted(world, monkeypatch, answer, f"Yes.{END}")
    world.train(once, new, tmp_path / "work")
    assert {row.id for row in written(tmp_path / "work")} == {"r0001.0"}


def test_what_cannot_be_verified_or_asked_is_counted(world: World, tmp_path: Path) -> None:
    exchanges = [("Is it 0?", "Yes."), ("How?", "?!"), ("z" * 305, "Yes.")]
    new = tiny_records(tmp_path / "new.parquet", exchanges)
    found = world.train(STAR, new, tmp_path / "work")
    assert found.counts.skipped == {
        "rollouts: cannot be verified": 1,
        "rollouts: no room for another answer": 1,
    }


def test_rejected_answers_are_no_questions(world: World, tmp_path: Path) -> None:
    new = tiny_records(tmp_path / "new.parquet", [("Is it?", "Yes.")], learn="negative")
    with pytest.raises(TrainingError, match="no row can be learned from"):
        world.train(STAR, new, tmp_path / "work")


def test_replayed_rows_are_dealt_by_what_was_kept(world: World, tmp_path: Path) -> None:
    how = STAR.model_copy(update={"replay": Replay(share=2.0), "epochs": 1})
    found = world.train(how, world.mixed, tmp_path, replay=world.yes)
    kept = found.counts.rows["rollouts"]
    assert found.counts.seen == {"new": 0, "rollouts": kept, "replay": 2 * kept}


@pytest.mark.parametrize("how", [SDFT, STAR, GRPO], ids=lambda how: how.method)
def test_equal_inputs_give_equal_bytes_also_after_a_kill(
    how: Recipe, world: World, tmp_path: Path
) -> None:
    class Killed(Exception):
        pass

    def kill(seen: Progress) -> None:
        if seen.stage == "train":
            raise Killed

    one = world.train(how, world.mixed, tmp_path / "one")
    with pytest.raises(Killed):
        world.train(how, world.mixed, tmp_path / "two", progress=kill)
    stages: list[str] = []
    two = world.train(
        how, world.mixed, tmp_path / "two", progress=lambda now: stages.append(now.stage)
    )
    assert "write rollouts" not in stages
    assert two.digest == one.digest and two.counts == one.counts
    folders = [folder_of(tmp_path / name) for name in ("one", "two")]
    assert folders[0].name == folders[1].name
    assert digest_folder(folders[0]) == digest_folder(folders[1])


def test_another_seed_parent_or_batch_is_another_folder(world: World, tmp_path: Path) -> None:
    once = SDFT.model_copy(update={"epochs": 1})
    world.train(once, world.mixed, tmp_path / "0")
    world.train(once.model_copy(update={"seed": 1}), world.mixed, tmp_path / "1")
    world.train(once, world.mixed, tmp_path / "2", None)
    world.train(once, world.yes, tmp_path / "3")
    found = [folder_of(tmp_path / str(n)) for n in range(4)]
    assert len({folder.name for folder in found}) == 4
    said = [[row.ids for row in read_written(folder)] for folder in found]
    assert said[0] != said[1] and said[0] != said[2]


@pytest.mark.parametrize("how", [SDFT, STAR, GRPO], ids=lambda how: how.method)
def test_damaged_rollouts_are_not_learned_from(
    how: Recipe, world: World, tmp_path: Path
) -> None:
    world.train(how, world.yes, tmp_path)
    (tmp_path / "trained.json").unlink()
    rows = folder_of(tmp_path) / "rows.jsonl"
    rows.write_bytes(b"".join(rows.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(TrainingError, match="do not belong together"):
        world.train(how, world.yes, tmp_path)
