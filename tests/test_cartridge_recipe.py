"""What a recipe of a cartridge has, and what belongs to a LoRA and is refused."""

from pathlib import Path

import pytest

from tidegate.training.kinds import made_by
from tidegate.training.methods import load_methods
from tidegate.training.recipe import YamlError, load_recipe

HERE = Path(__file__).parent / "recipes"
GOOD = """\
recipe: small
why: a test
base: somewhere
method: cartridge
learning_rate: 1.0e-2
epochs: 1
rows_per_step: 4
max_tokens: 256
seed: 0
cartridge: {tokens: 16, corpus_tokens: 64, max_new_tokens: 12}
"""


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("rank: 4\n", ":11: rank: goes with a LoRA, and the method 'cartridge' makes"),
        ("alpha: 4\n", ":11: alpha: goes with a LoRA"),
        ("targets: [q_proj]\n", ":11: targets: goes with a LoRA"),
        ("frozen_layers: 2\n", ":11: frozen_layers: goes with a LoRA"),
        ("gradient_checkpointing: true\n", ":11: gradient_checkpointing: goes with a LoRA"),
        ("scale: [1.0, 0.5]\n", ":11: scale: goes with a LoRA"),
        ("interpolate: {share: 0.5}\n", ":11: the method 'cartridge' reads no section 'interp"),
        ("reptile: {rate: 0.5, last: 4}\n", "reads no section 'reptile'"),
        ("fisher: {rows: 4}\n", "reads no section 'fisher'"),
        ("anchors: {rows: 4, share: 1.0}\n", "reads no section 'anchors'"),
        ("subspace: {share: 0.5}\n", "reads no section 'subspace'"),
        ("expand: {rewordings: 1, reversals: true, most: 1}\n", "does not learn the rows' own"),
        ("routes:\n  - {to: context, when: dated, why: it ends}\n", None),
        ("replay: {share: 0.2}\n", None),
    ],
)
def test_what_a_cartridge_has_not_is_refused_with_its_line(
    more: str, says: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(GOOD + more)
    if says is None:
        assert made_by(load_recipe(path)) == "cartridge"
        return
    with pytest.raises(YamlError, match=says):
        load_recipe(path)


@pytest.mark.parametrize("name", ["rank", "alpha", "targets"])
def test_a_lora_needs_its_shape(name: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    lines = (HERE / "good.yaml").read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith(f"{name}:")))
    with pytest.raises(YamlError, match=f":1: {name}: Field required"):
        load_recipe(path)


def test_cartridge_is_the_one_method_that_makes_no_lora() -> None:
    assert {name for name, m in load_methods().items() if m.makes != "lora"} == {"cartridge"}
