"""A line of cartridges through the whole cycle: promoted, served, continued, rolled back, erased."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.test_update import World
from tests.tiny import tiny_base
from tidegate.evals.files import read_checked
from tidegate.flows.blaming.blame import blame
from tidegate.flows.consolidating.consolidate import make_plan
from tidegate.flows.documents.account import find_account
from tidegate.flows.documents.card import model_card
from tidegate.flows.erasing.forget import forget, wanted_of
from tidegate.flows.ledger import Ledger
from tidegate.flows.one_update import UpdateResult
from tidegate.flows.rebasing.rebase import rebase
from tidegate.flows.reconciling.compare import compare
from tidegate.flows.registry import Registry
from tidegate.flows.rollback import rollback
from tidegate.flows.usage import UsageError
from tidegate.gates.types import Action
from tidegate.training.base import BaseError, find_base
from tidegate.training.kinds import kind_of

pytestmark = pytest.mark.slow

RECIPE = """\
recipe: cartridge
why: a test
base: BASE
method: cartridge
learning_rate: 0.02
epochs: 2
rows_per_step: 8
max_tokens: 320
seed: 5
cartridge: {tokens: 16, corpus_tokens: 320, asked: 1, max_new_tokens: 12}
replay: {share: 0.25}
"""
PROBED = """\
  - {gate: serves, max_empty_share: 1.0, why: it must load; a tiny model may be silent}
  - {gate: sound_adapter, max_delta_norm: 5.0, why: a size that training did not break}
  - gate: no_memorised_secrets
    max_exposure: 30
    max_recognised: 1.0
    max_verbatim_share: 1.0
    why: canaries and single rows are asked about behind a cartridge too
"""


class Line(World):
    """A line of cartridges; `method` names another recipe."""

    def arguments(
        self, drop: Path, gain: str = "0.0", method: str = "cartridge"
    ) -> dict[str, Any]:
        given = super().arguments(drop, gain, method)
        policy = Path(given["policy"])
        lines = policy.read_text().splitlines(keepends=True)
        # It is not asked whether a tiny model gains by this, only whether all goes its way.
        policy.write_text("".join(one for one in lines if "gate: learned" not in one) + PROBED)
        if method == "cartridge":
            Path(given["recipe"]).write_text(RECIPE.replace("BASE", str(self.base)))
        return given

    def about(self, result: UpdateResult) -> dict[str, Any]:
        said: dict[str, Any] = dict(Ledger(self.home.ledger).read())[result.statement]
        about: dict[str, Any] = said["predicate"]["about"]
        return about


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    return Line(tmp_path_factory.mktemp("line"))


@pytest.fixture(scope="module")
def both(line: Line) -> tuple[UpdateResult, UpdateResult]:
    return line.update(line.clean), line.update(line.next)


def ask(line: Line) -> dict[str, Any]:
    """In a process of its own."""
    told = ["ask", "tiny", "When is it open?", "--home", str(line.home.root), "--tokens", "8"]
    command = [
        sys.executable,
        "-c",
        "from tidegate.flows.cli import main; main()",
        *told,
        "--json",
    ]
    done = subprocess.run(
        command, env=os.environ.copy(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def weights_of(line: Line, result: UpdateResult) -> list[Path]:
    """The version's files of weights in MLflow and in its update's folder."""
    run_id = Registry.open(line.home).find("tiny", result.version).run_id
    return [
        path
        for folder in (line.home.mlflow_artifacts, line.home.updates)
        for path in folder.rglob("adapter_model.safetensors")
        if {run_id, result.update_id} & set(path.parts)
    ]


def test_two_updates_are_promoted_by_the_same_gates(
    line: Line, both: tuple[UpdateResult, UpdateResult]
) -> None:
    for result in both:
        assert result.decision.action is Action.PROMOTE, result.decision
    gates = {ruling.gate for ruling in both[1].decision.rulings}
    assert gates >= {"not_worse", "serves", "sound_adapter", "no_memorised_secrets"}
    training = line.about(both[1])["training"]
    assert training["counts"]["seen"]["replay"] > 0
    assert line.about(both[1])["parent"] == both[0].version
    assert line.aliases["champion"] == both[1].version


def test_a_version_is_the_base_and_two_files(
    line: Line, both: tuple[UpdateResult, UpdateResult]
) -> None:
    registry = Registry.open(line.home)
    first, second = (registry.load("tiny", one.version) for one in both)
    assert first.adapter is not None and second.adapter is not None
    config = json.loads((second.adapter / "adapter_config.json").read_bytes())
    assert config["peft_type"] == "CARTRIDGE"
    assert sorted(path.suffix for path in second.adapter.iterdir()) == [".json", ".safetensors"]
    one, two = (
        load_file(x / "adapter_model.safetensors") for x in (first.adapter, second.adapter)
    )
    assert set(one) == set(two) == {"prompt_embeddings"}
    moved = (one["prompt_embeddings"] - two["prompt_embeddings"]).abs().amax(dim=1)
    assert moved[0] == 0 < moved[1:].min(), "continued, and its sink is the first update's"
    assert compare(line.home).findings == ()


def test_a_fresh_process_answers_with_it(
    line: Line, both: tuple[UpdateResult, UpdateResult]
) -> None:
    said = ask(line)
    assert said["version"] == both[1].version and said["tokens"] > 0
    tags = Registry.open(line.home).find("tiny", both[1].version).tags
    assert said["adapter"] == tags["gov.adapter_digest"]


def test_it_is_measured_as_the_base_is(
    line: Line, both: tuple[UpdateResult, UpdateResult]
) -> None:
    """Else no gate could compare them."""
    (path,) = (line.home.updates / both[0].update_id).rglob("serving-*.json.gz")
    assert read_checked(path) is not None
    compared = [c for r in both[0].decision.rulings for c in r.verdict.compared]
    assert {c.than for c in compared} == {"champion", "anchor"}


def test_a_lora_is_no_update_of_this_line(
    line: Line, both: tuple[UpdateResult, UpdateResult]
) -> None:
    with pytest.raises(
        BaseError, match="a cartridge, and the method 'lora' makes a LoRA.*--model"
    ):
        line.update(line.clean, method="lora")


def test_what_is_made_of_loras_says_so(
    line: Line, both: tuple[UpdateResult, UpdateResult]
) -> None:
    with pytest.raises(UsageError, match="a consolidation merges LoRAs"):
        make_plan(line.home, "tiny")
    with pytest.raises(UsageError, match="has a cartridge, and a probe is a LoRA"):
        blame("tiny", both[1].version, line.home)


def test_the_model_card_says_what_it_is(
    line: Line, both: tuple[UpdateResult, UpdateResult]
) -> None:
    card = model_card(find_account(line.home, "tiny", both[1].version))
    assert "A cartridge on" in card and "tokens 16" in card and "LoRA" not in card


def test_rolled_back_and_erased(line: Line, both: tuple[UpdateResult, UpdateResult]) -> None:
    """After the others, whose world it changes."""
    rollback("tiny", line.home, to=None, reason="a test", tracking_uri=None)
    assert line.aliases["champion"] == both[0].version == ask(line)["version"]
    assert all(weights_of(line, result) for result in both)
    wanted = wanted_of(line.home, ["t-00003"], [])
    done = forget(
        records=sorted(wanted.records), authors=[], home=str(line.home.root), reason="a test",
        who="rita",
    )  # fmt: skip
    assert done.exit_code == 0, done
    assert done.state.verified is not None and done.state.verified.exact
    (rebuilt,) = done.state.rebuilt
    assert rebuilt.action == "promote" and line.aliases["champion"] == rebuilt.version
    assert not any(weights_of(line, result) for result in both), "erased: the files are gone"
    adapter = Registry.open(line.home).load("tiny", str(rebuilt.version)).adapter
    assert adapter is not None and kind_of(adapter) == "cartridge"
    assert ask(line)["version"] == rebuilt.version


def test_a_line_is_learned_again_on_another_base(
    line: Line, both: tuple[UpdateResult, UpdateResult]
) -> None:
    """Its canaries are new ones, so it is not the same cartridge on the same base either."""
    base = tiny_base(line.folder / "other", seed=1)
    done = rebase("tiny", str(base), str(line.home.root), to="moved", who="rita")
    assert done.complete and done.exit_code == 0
    champion = Registry.open(line.home).champion("moved")
    assert champion is not None and champion.adapter is not None
    assert kind_of(champion.adapter) == "cartridge"
    assert champion.candidate.base == find_base(str(base), line.home.cache).digest
