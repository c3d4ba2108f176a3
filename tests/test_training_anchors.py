"""Anchors: made once, by chance that a seed fixes, with the origin's view of every token."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny import tiny_base, tiny_records
from tidegate.gates.digest import digest_folder
from tidegate.training.anchors import (
    POOL,
    AnchorError,
    is_repetitive,
    make_anchors,
    read_anchors,
)
from tidegate.training.base import Base, find_base, load_model
from tidegate.training.losses import kl_to_teacher
from tidegate.training.packing import Item, concatenate, logits_at, pack
from tidegate.training.recipe import Recipe, load_recipe
from tidegate.training.train import train

pytestmark = pytest.mark.usefixtures("one_thread")

GOOD = load_recipe(Path(__file__).parent / "recipes" / "good.yaml")


def recipe(**anchors: Any) -> Recipe:
    assert GOOD.anchors is not None
    return GOOD.model_copy(
        update={"max_tokens": 256, "anchors": GOOD.anchors.model_copy(update=anchors)}
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    folder = tmp_path_factory.mktemp("base")
    return find_base(str(tiny_base(folder / "tiny")), folder)


def test_the_shipped_pool_is_one_prompt_a_line() -> None:
    prompts = [json.loads(line) for line in POOL.read_text(encoding="utf-8").splitlines()]
    assert len({p["id"] for p in prompts}) == len({p["text"] for p in prompts}) == len(prompts)
    assert all(set(p) == {"id", "text"} for p in prompts)


def test_anchors_are_made_once_and_the_same_each_time(base: Base, tmp_path: Path) -> None:
    first = make_anchors(recipe(), base, None, None, cache=tmp_path / "one")
    stages: list[str] = []
    again = make_anchors(
        recipe(),
        base,
        None,
        None,
        cache=tmp_path / "one",
        progress=lambda p: stages.append(p.stage),
    )
    elsewhere = make_anchors(recipe(), base, None, None, cache=tmp_path / "two")
    assert again == first and stages == []
    assert digest_folder(elsewhere) == digest_folder(first)
    # How strongly anchors pull is no part of what they are.
    assert make_anchors(recipe(weight=2.0), base, None, None, cache=tmp_path / "one") == first
    assert make_anchors(recipe(top_k=9), base, None, None, cache=tmp_path / "one") != first


def test_an_untrained_model_does_not_diverge_from_its_origin(
    base: Base, tmp_path: Path
) -> None:
    folder = make_anchors(recipe(), base, None, None, cache=tmp_path)
    rows = read_anchors(folder).rows
    assert len(rows) == 6
    model, _ = load_model(base)
    for packed in pack([Item("anchors", row) for row in rows], 512):
        with torch.no_grad():
            loss = kl_to_teacher(logits_at(model, packed), packed.teachers["anchors"])
        assert float(loss) == pytest.approx(0, abs=1e-3)


def test_the_parent_answers_and_the_origin_judges(base: Base, tmp_path: Path) -> None:
    asked = [f"say {i}" for i in range(8)]
    new = tiny_records(tmp_path / "new.parquet", [(text, "aaaa bbbb") for text in asked])
    pool = tmp_path / "pool.jsonl"
    pool.write_text("".join(json.dumps({"id": text, "text": text}) + "\n" for text in asked))
    hot = GOOD.model_copy(
        update={"method": "lora", "anchors": None, "learning_rate": 0.02, "epochs": 30}
    )
    parent = train(
        hot, base, parent=None, new=new, replay=None, anchors=None, work=tmp_path / "work"
    )
    settings = recipe(temperature=0.1)
    own = make_anchors(settings, base, None, None, cache=tmp_path, pool=pool)
    theirs = make_anchors(
        settings, base, parent.adapter, parent.digest, cache=tmp_path, pool=pool
    )
    assert theirs != own
    with (theirs / "rows.jsonl").open() as lines:
        answers = [json.loads(line)["answer"] for line in lines]
    assert answers.count("aaaa bbbb") >= 4

    for row in read_anchors(theirs).rows:
        with torch.no_grad():
            logits = logits_at(load_model(base)[0], concatenate([Item("anchors", row)]))
        assert row.teacher is not None
        assert float(kl_to_teacher(logits, row.teacher)) == pytest.approx(0, abs=1e-3)


def test_a_shortfall_is_an_error_not_a_smaller_set(base: Base, tmp_path: Path) -> None:
    pool = tmp_path / "pool.jsonl"
    pool.write_text(json.dumps({"id": "p", "text": "x" * 400}) + "\n")
    with pytest.raises(AnchorError, match="gave 0 of 6 anchors"):
        make_anchors(recipe(), base, None, None, cache=tmp_path, pool=pool)
    pool.write_text("")
    with pytest.raises(AnchorError, match="no prompt in it"):
        make_anchors(recipe(), base, None, None, cache=tmp_path, pool=pool)


def test_a_recipe_without_anchors_makes_none(base: Base, tmp_path: Path) -> None:
    plain = GOOD.model_copy(update={"method": "lora", "anchors": None})
    with pytest.raises(AnchorError, match="no section that asks for answers"):
        make_anchors(plain, base, None, None, cache=tmp_path)


@pytest.mark.parametrize(
    ("answer", "loops"),
    [([1, 2, 3, 4, 5, 6], False), ([1, 2, 3] * 8, True), ([7] * 10, True), ([1, 2], False)],
)
def test_a_loop_is_seen(answer: list[int], loops: bool) -> None:
    assert is_repetitive(answer) is loops
