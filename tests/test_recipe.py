"""A recipe with one mistake is refused whole, with the line of the mistake."""

import subprocess
import sys
from pathlib import Path

import pytest

from tidegate.training.methods import load_methods
from tidegate.training.recipe import Recipe, YamlError, load_recipe

HERE = Path(__file__).parent / "recipes"
SHIPPED = sorted((Path(__file__).parent.parent / "policies" / "recipes").glob("*.yaml"))

MISTAKES = {
    "bad_a_list": (1, "valid dictionary"),
    "bad_anchors_too_long": (13, "leaves no room for a prompt"),
    "bad_anchors_unknown_key": (13, "did you mean 'temperature'?"),
    "bad_anchors_without_share": (13, "share: Field required"),
    "bad_empty": (None, "the file is empty"),
    "bad_epochs_is_zero": (9, "epochs"),
    "bad_expand_nothing": (13, "makes nothing"),
    "bad_expand_self_taught": (13, "does not learn the rows' own answers"),
    "bad_expand_too_many": (13, "rewordings"),
    "bad_expand_unknown_key": (13, "paraphrases"),
    "bad_frozen_none": (8, "frozen_layers"),
    "bad_gradient_checkpointing": (8, "gradient_checkpointing"),
    "bad_key_twice": (13, "'seed' was already set on line 12"),
    "bad_missing_key": (1, "seed: Field required"),
    "bad_name_with_spaces": (1, "recipe"),
    "bad_no_targets": (7, "targets"),
    "bad_no_why": (2, "why"),
    "bad_not_yaml": (8, "not YAML"),
    "bad_rank_is_text": (5, "rank"),
    "bad_rank_is_zero": (5, "rank"),
    "bad_rate_is_nan": (8, "finite number"),
    "bad_rate_too_high": (8, "learning_rate"),
    "bad_rate_without_a_point": (8, "write it with a point"),
    "bad_fisher_form": (13, "form"),
    "bad_preference_section_missing": (4, "needs a section 'preference'"),
    "bad_replay_section_missing": (4, "needs a section 'replay'"),
    "bad_reptile_of_one": (13, "last"),
    "bad_rollouts_too_long": (13, "leaves no room for a prompt"),
    "bad_rewarded_cut": (13, "top_p"),
    "bad_rewarded_of_one": (13, "per_row"),
    "bad_rewarded_section_missing": (4, "needs a section 'rewarded'"),
    "bad_rewarded_too_long": (13, "leaves no room for a prompt"),
    "bad_rewarded_unclipped": (13, "clip"),
    "bad_rewarded_verifier": (13, "did you mean 'last_number'?"),
    "bad_routes_empty": (13, "at least 1 item"),
    "bad_routes_fewer_authors": (15, "rule 1 asks for as many authors or more"),
    "bad_routes_key_of_another": (14, "there is no key 'authors'"),
    "bad_routes_module_elsewhere": (14, "to: context has no module"),
    "bad_routes_module_with_a_path": (14, "module: String should match"),
    "bad_routes_module_without_a_name": (14, "needs a name, as in module: billing"),
    "bad_routes_never_reached": (16, "rule 3 is never reached: rule 1 is when: volatile"),
    "bad_routes_no_when": (14, "when: Field required"),
    "bad_routes_no_why": (14, "why: Field required"),
    "bad_routes_not_a_list": (13, "routes: Input should be a valid tuple"),
    "bad_routes_not_a_rule": (14, "a rule has the keys to, when and why"),
    "bad_routes_one_off_of_one": (14, "authors: Input should be greater than or equal to 2"),
    "bad_routes_one_off_without_authors": (14, "authors: Field required"),
    "bad_routes_source_again": (15, "names the source 'b', which rule 1 names already"),
    "bad_routes_source_of_none": (14, "sources: Tuple should have at least 1 item"),
    "bad_routes_source_twice": (14, "rule 1 names a source twice"),
    "bad_routes_source_without_sources": (14, "sources: Field required"),
    "bad_routes_unknown_condition": (15, "did you mean 'volatile'?"),
    "bad_routes_unknown_destination": (14, "did you mean 'context'?"),
    "bad_routes_unknown_key": (14, "did you mean 'authors'?"),
    "bad_scale_above_one": (13, "from at most 1 downwards"),
    "bad_scale_empty": (13, "scale"),
    "bad_scale_grows": (13, "from at most 1 downwards"),
    "bad_section_missing": (4, "needs a section 'anchors'"),
    "bad_section_not_read": (13, "choose method: anchored"),
    "bad_sparse_elsewhere": (4, "for targets: [down_proj]"),
    "bad_subspace_whole": (13, "share"),
    "bad_target_twice": (7, "named twice"),
    "bad_targets_not_a_list": (7, "targets"),
    "bad_timescales_all_slow": (4, "leaves no fast rank of 4"),
    "bad_timescales_one": (13, "every"),
    "bad_unknown_key": (5, "did you mean 'rank'?"),
    "bad_unknown_method": (4, "did you mean 'anchored'?"),
    "bad_verified_by_another": (13, "choose method: star"),
    "bad_verifier_unknown": (13, "did you mean 'normalised'?"),
}


@pytest.mark.parametrize("name", sorted(path.stem for path in HERE.glob("bad_*.yaml")))
def test_a_mistake_is_named_with_its_line(name: str) -> None:
    line, fragment = MISTAKES[name]
    path = HERE / f"{name}.yaml"
    with pytest.raises(YamlError) as refused:
        load_recipe(path)
    where = f"{path}:{line}: " if line else f"{path}: "
    assert str(refused.value).startswith(where)
    assert fragment in str(refused.value)


def test_every_mistake_has_its_file() -> None:
    assert set(MISTAKES) == {path.stem for path in HERE.glob("bad_*.yaml")}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_recipes_that_ship_load(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.recipe == path.stem
    assert recipe.why


def test_there_is_a_recipe_for_every_method() -> None:
    assert {load_recipe(path).method for path in SHIPPED} == set(load_methods())


def test_the_digest_names_what_the_recipe_says(tmp_path: Path) -> None:
    text = (HERE / "good.yaml").read_text()
    same, other = tmp_path / "same.yaml", tmp_path / "other.yaml"
    same.write_text("# a comment\n" + text + "schedule: {warmup: 0.1, floor: 0.1}\n")
    other.write_text(text.replace("seed: 0", "seed: 1"))
    digest = load_recipe(HERE / "good.yaml").digest
    assert load_recipe(same).digest == digest  # a default written out is no other recipe
    assert load_recipe(other).digest != digest


def test_a_recipe_without_routes_has_the_digest_that_it_had(tmp_path: Path) -> None:
    good = load_recipe(HERE / "good.yaml")
    assert good.digest == (
        "sha256:f47c081f8600499150c5a51adf301142479eb4a46306514382d5d3ad704871fc"
    )
    path = tmp_path / "routes.yaml"
    rules = "routes:\n  - {to: context, when: dated, why: it ends}\n"
    path.write_text((HERE / "good.yaml").read_text() + rules)
    digests = {good.digest, load_recipe(path).digest}
    path.write_text(path.read_text().replace("it ends", "it will end"))
    assert len({*digests, load_recipe(path).digest}) == 3, "a rule and its reason are in it"
    again = Recipe.model_validate(load_recipe(path).model_dump(mode="json"), strict=False)
    assert again == load_recipe(path), "as a recorded recipe is read"


IMPLIES = "expand: {rewordings: 0, reversals: false, implications: 2, most: 2}\n"


def test_only_a_recipe_that_expands_rows_says_so_in_its_digest(tmp_path: Path) -> None:
    plain = load_recipe(HERE / "good.yaml")
    assert "expand" not in plain.model_dump(mode="json")
    more = tmp_path / "more.yaml"
    section = "expand: {rewordings: 2, reversals: true, most: 3}\n"
    more.write_text((HERE / "good.yaml").read_text() + section)
    assert load_recipe(more).digest != plain.digest
    assert load_recipe(more).model_copy(update={"expand": None}).digest == plain.digest
    expand = load_recipe(more).model_dump(mode="json")["expand"]
    assert set(expand) == {"rewordings", "reversals", "most"}, (
        "as before there were implications"
    )
    more.write_text((HERE / "good.yaml").read_text() + IMPLIES)
    linking = load_recipe(more)
    assert linking.expand is not None and linking.expand.implications == 2
    assert Recipe.model_validate(linking.model_dump(mode="json"), strict=False) == linking


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_any_method_that_learns_accepted_answers_may_expand_rows(
    path: Path, tmp_path: Path
) -> None:
    more = tmp_path / path.name
    more.write_text(path.read_text() + "\nexpand: {rewordings: 2, reversals: true, most: 3}\n")
    if path.stem in ("cartridge", "grpo", "sdft", "star"):
        with pytest.raises(YamlError, match="own answers"):
            load_recipe(more)
    else:
        assert load_recipe(more).expand is not None


def test_reading_a_recipe_loads_no_torch() -> None:
    code = (
        "import sys; from pathlib import Path; from tidegate.training.recipe import load_recipe;"
        f"load_recipe(Path({str(HERE / 'good.yaml')!r})); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
