"""A student that answers as a teacher does: soft labels alone, and a model left as it was."""

from typing import Any

import pytest
import torch

from tests.test_methods import METHODS, recipe
from tests.tiny import tiny_base, tiny_records
from tidegate.training.adapter import new_adapter
from tidegate.training.anchors import make_anchors
from tidegate.training.base import find_base, load_model
from tidegate.training.teacher import answering_as
from tidegate.training.train import train
from tidegate.training.trained import TrainingError


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A base, an adapter that learned eight rows, and anchors that it wrote."""
    folder = tmp_path_factory.mktemp("material")
    base = find_base(str(tiny_base(folder / "base")), folder)
    said = [(f"What is thing {n}?", f"It is number {n}.") for n in range(8)]
    new = tiny_records(folder / "new.parquet", said)
    learned = train(
        METHODS["lora"],
        base,
        parent=None,
        new=new,
        replay=None,
        anchors=None,
        work=folder / "t",
    )
    how = METHODS["distill"]
    anchors = make_anchors(how, base, learned.adapter, learned.digest, cache=folder)
    given = {"base": base, "new": new, "replay": None, "anchors": anchors}
    return {"teacher": learned.adapter, "given": given, "folder": folder}


def test_from_the_teacher_itself_there_is_nothing_to_learn(material: dict[str, Any]) -> None:
    """Soft labels of the teacher alone: no cross-entropy on the rows is left."""
    one = METHODS["distill"].model_copy(update={"epochs": 1})
    made = train(
        one, **material["given"], parent=material["teacher"], teacher=material["teacher"],
        work=material["folder"] / "itself",
    )  # fmt: skip
    assert set(made.history[0].losses) == {"new", "anchors"}
    assert all(loss < 1e-3 for loss in made.history[0].losses.values())


def test_a_fresh_student_comes_near_the_teacher(material: dict[str, Any]) -> None:
    made = train(
        METHODS["distill"], **material["given"], parent=None, teacher=material["teacher"],
        work=material["folder"] / "fresh",
    )  # fmt: skip
    first, last = (made.history[at].losses["new"] for at in (0, -1))
    assert last < 0.8 * first
    again = train(
        METHODS["distill"], **material["given"], parent=None, teacher=None,
        work=material["folder"] / "untaught",
    )  # fmt: skip
    assert again.inputs != made.inputs and again.digest != made.digest


@pytest.mark.parametrize("method", ["lora", "interpolate"])
def test_only_distill_can_be_taught(material: dict[str, Any], method: str) -> None:
    with pytest.raises(TrainingError, match="needs the method 'distill'"):
        train(
            METHODS.get(method, recipe(method)), **material["given"], parent=None,
            teacher=material["teacher"], work=material["folder"] / method,
        )  # fmt: skip


def test_the_teacher_leaves_the_model_as_it_was(material: dict[str, Any]) -> None:
    base = material["given"]["base"]
    teacher, _ = load_model(base, material["teacher"])
    plain, _ = load_model(base)
    model: Any = new_adapter(plain, METHODS["distill"])
    ids = torch.tensor([[1, 40, 60, 80, 2]])

    def says(asked: Any) -> torch.Tensor:
        with torch.no_grad():
            logits: torch.Tensor = asked(input_ids=ids).logits
        return logits

    before = says(model)
    trainable = [name for name, p in model.named_parameters() if p.requires_grad]
    with answering_as(model, material["teacher"]):
        assert torch.equal(says(model), says(teacher))
    assert torch.equal(says(model), before) and not torch.equal(before, says(teacher))
    assert [name for name, p in model.named_parameters() if p.requires_grad] == trainable
