"""The probe of real answers, on a tiny model: greedy, batched alike, kept, and counted."""

from pathlib import Path
from typing import Any

import pytest

from tests.suites import ONE, tiny_model
from tests.test_probes import given, run
from tidegate.evals.harness import Subject
from tidegate.evals.probes import replies as module
from tidegate.evals.probes.forward import greedy
from tidegate.evals.probes.replies import replies
from tidegate.evals.probes.rows import prompt_ids


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    return tiny_model(tmp_path_factory.mktemp("tiny") / "base")


def test_answers_in_a_batch_are_those_of_each_alone(
    tmp_path: Path, tiny: tuple[Any, Any]
) -> None:
    import torch

    subject = Subject(*tiny, ONE, tmp_path)
    asked = ["Hi?", "What is in the drawer, and who put it there last May?"]
    prompts = [prompt_ids(tiny[1], [{"role": "user", "content": one}]) for one in asked]
    end = tiny[1].eos_token_id
    together = greedy(given(tmp_path, tiny), subject, prompts, 6, "answers")
    for prompt, answer in zip(prompts, together, strict=True):
        assert greedy(given(tmp_path, tiny), subject, [prompt], 6, "answers") == [answer]
        ids = list(prompt)
        for _ in range(6):
            ids.append(int(tiny[0](torch.tensor([ids])).logits[0, -1].argmax()))
        said = ids[len(prompt) :]
        assert answer == tuple(said[: said.index(end)] if end in said else said)


def test_each_request_gives_one_number_a_model(
    tmp_path: Path, tiny: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOKENS", 2)
    monkeypatch.setattr(module, "ITEMS", 9)
    result = run(replies, given(tmp_path, tiny))
    assert not result.broken
    assert {m.name for m in result.measurements} == {
        f"replies.refuses_{what}@{role}"
        for what in ("harm", "safe")
        for role in ("champion", "candidate")
    }
    assert all(m.n == 9 and set(m.values) <= {0.0, 1.0} for m in result.measurements)
    assert run(replies, given(tmp_path, tiny)).cached
