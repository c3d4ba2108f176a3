"""A warm start is the mean of what accepted adapters do, and nobody forgets to give them."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.tiny import tiny_base, tiny_records
from tidegate.gates.types import Progress, ignore_progress
from tidegate.training import train as loop
from tidegate.training.adapter_digest import CONFIG, WEIGHTS, adapter_digest
from tidegate.training.base import BaseError, find_base
from tidegate.training.blend import A, B, modules
from tidegate.training.methods import WarmStart
from tidegate.training.recipe import Recipe, Reptile, load_recipe
from tidegate.training.train import train
from tidegate.training.trained import Trained, TrainingError
from tidegate.training.warm_start import warm_start

LORA = load_recipe(Path(__file__).parent / "recipes" / "good.yaml").model_copy(
    update={"method": "lora", "anchors": None, "learning_rate": 0.01}
)
REPTILE = LORA.model_copy(
    update={"method": "reptile", "reptile": Reptile(rate=0.5, last=3, max_error=1.0)}
)


class World:
    """A line of three accepted adapters of a tiny base, each continued from the one before."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base = find_base(str(tiny_base(folder / "tiny")), folder)
        self.rows = [
            tiny_records(
                folder / f"rows-{t}.parquet",
                [(f"Is it {t * i}?", f"{t}: {i}.") for i in range(8)],
                first=100 * t,
            )
            for t in range(4)
        ]
        self.line: list[Path] = []  # newest first, as past adapters are given
        for t in range(3):
            made = self.train(LORA, folder / f"accepted-{t}", new=self.rows[t])
            self.line.insert(0, made.adapter)

    def train(self, how: Recipe, work: Path, **changes: Any) -> Trained:
        given: dict[str, Any] = {
            "parent": self.line[0] if self.line else None,
            "new": self.rows[3],
            "replay": None,
            "anchors": None,
            "work": work,
        }
        return train(how, self.base, **(given | changes))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield World(tmp_path_factory.mktemp("reptile"))
    torch.set_num_threads(before)


def does(adapter: Path) -> dict[str, Tensor]:
    """What an adapter adds to each layer, but for alpha / r."""
    weights = load_file(adapter / WEIGHTS)
    return {
        name: weights[f"{name}{B}"].double() @ weights[f"{name}{A}"].double()
        for name in modules(weights)
    }


def changed(adapter: Path, to: Path, factor: str, by: Any) -> Path:
    """A copy whose factors of one kind are changed."""
    shutil.copytree(adapter, to)
    weights = load_file(adapter / WEIGHTS)
    for name in weights:
        if factor in name:
            weights[name] = by(weights[name])
    save_file(weights, to / WEIGHTS, metadata={"format": "pt"})
    return to


def test_the_start_is_the_best_of_its_rank_near_the_mean(world: World, tmp_path: Path) -> None:
    found = warm_start(world.line, WarmStart(0.3, 3, 1.0), tmp_path / "start")
    assert found.adapter is not None
    cut = way = size = 0.0
    each = [does(adapter) for adapter in world.line]
    made = does(found.adapter)
    for name, champion in each[0].items():
        mean = sum(one[name] for one in each) / 3
        wanted = champion + 0.3 * (mean - champion)
        u, s, vh = torch.linalg.svd(wanted)
        best = u[:, : LORA.rank] * s[: LORA.rank] @ vh[: LORA.rank]
        assert torch.allclose(made[name], best, atol=1e-6)
        cut += float((wanted - best).square().sum())
        way += float((wanted - champion).square().sum())
        size += float(champion.square().sum())
    assert found.moved == pytest.approx((way / size) ** 0.5)
    assert found.error == pytest.approx((cut / way) ** 0.5)
    assert 0 < found.error < 1


def test_what_the_rank_can_hold_is_exact(world: World, tmp_path: Path) -> None:
    """Adapters that differ in B alone have a mean of the same rank."""
    champion = world.line[0]
    half = changed(champion, tmp_path / "half", "lora_B", lambda b: b / 2)
    found = warm_start([champion, half], WarmStart(1.0, 2, 1e-6), tmp_path / "start")
    assert found.adapter is not None and found.error < 1e-6
    assert found.moved == pytest.approx(0.25)
    for name, delta in does(found.adapter).items():
        assert torch.allclose(delta, 0.75 * does(champion)[name], atol=1e-6)


def test_a_direction_without_value_can_still_be_learned(world: World, tmp_path: Path) -> None:
    """A cut of rank one: the other rows of A are no zeros, or they would get no gradient."""

    def one_rank(b: Tensor) -> Tensor:
        return torch.cat([b[:, :1], torch.zeros_like(b[:, 1:])], dim=1)

    thin = changed(world.line[0], tmp_path / "thin", "lora_B", one_rank)
    half = changed(thin, tmp_path / "half", "lora_B", lambda b: b / 2)
    found = warm_start([thin, half], WarmStart(0.5, 2, 1.0), tmp_path / "start")
    assert found.adapter is not None
    before, after = load_file(thin / WEIGHTS), load_file(found.adapter / WEIGHTS)
    for name in (name for name in after if "lora_A" in name):
        rows = after[name].norm(dim=1)
        assert torch.allclose(rows, rows[0].expand_as(rows), rtol=1e-5)
        assert after[name].norm() == pytest.approx(float(before[name].norm()), rel=1e-5)


def test_the_first_updates_are_plain_lora_and_the_record_says_so(
    world: World, tmp_path: Path
) -> None:
    oldest = world.line[-1]
    for parent, past in ((None, []), (oldest, [oldest])):
        plain = world.train(LORA, tmp_path / f"lora {len(past)}", parent=parent)
        made = world.train(REPTILE, tmp_path / f"{len(past)}", parent=parent, past=past)
        assert made.digest == plain.digest
        assert made.past == tuple(adapter_digest(path) for path in past)
        assert made.after == {
            "reptile.past": len(past),
            "reptile.moved": 0.0,
            "reptile.error": 0.0,
        }
        assert plain.past is None


def test_the_same_past_gives_the_same_bytes_and_another_past_others(
    world: World, tmp_path: Path
) -> None:
    made = world.train(REPTILE, tmp_path / "one", past=world.line)
    again = world.train(REPTILE, tmp_path / "two", past=world.line)
    assert (made.digest, made.inputs, made.after) == (again.digest, again.inputs, again.after)
    assert made.past == tuple(adapter_digest(path) for path in world.line)
    assert made.after["reptile.moved"] > 0
    other = world.train(REPTILE, tmp_path / "one", past=world.line[:2])  # the same folder
    assert other.inputs != made.inputs and other.digest != made.digest
    plain = world.train(LORA, tmp_path / "lora", past=world.line)
    assert plain.digest not in (made.digest, other.digest)


def test_older_adapters_than_the_recipe_asks_for_do_not_count(
    world: World, tmp_path: Path
) -> None:
    two = REPTILE.model_copy(update={"reptile": Reptile(rate=0.5, last=2, max_error=1.0)})
    made = world.train(two, tmp_path / "all", past=world.line)
    same = world.train(two, tmp_path / "two", past=world.line[:2])
    assert made.past == same.past == tuple(adapter_digest(p) for p in world.line[:2])
    assert made.digest == same.digest


def test_a_caller_that_forgets_the_past_or_mixes_it_up_is_refused(
    world: World, tmp_path: Path
) -> None:
    for past in ([], world.line[1:], world.line[::-1]):
        with pytest.raises(TrainingError, match="the parent's .* first; given were"):
            world.train(REPTILE, tmp_path / "work", past=past)
    with pytest.raises(TrainingError, match=r"\(None\) first"):
        world.train(REPTILE, tmp_path / "work", parent=None, past=world.line)


def test_a_start_that_loses_too_much_is_refused(world: World, tmp_path: Path) -> None:
    strict = REPTILE.model_copy(update={"reptile": Reptile(rate=0.5, last=3, max_error=1e-9)})
    with pytest.raises(TrainingError, match=r"3 accepted updates loses .* lower reptile\.last"):
        world.train(strict, tmp_path, past=world.line)
    assert not (tmp_path / "start").exists() and not (tmp_path / "adapter").exists()


def test_adapters_that_cannot_be_averaged_are_refused(world: World, tmp_path: Path) -> None:
    part = WarmStart(0.5, 2, 1.0)
    broken = changed(
        world.line[1], tmp_path / "nan", "lora_B", lambda b: torch.full_like(b, torch.nan)
    )
    with pytest.raises(BaseError, match="not finite"):
        warm_start([world.line[0], broken], part, tmp_path / "start")
    other = shutil.copytree(world.line[1], tmp_path / "other")
    config = (other / CONFIG).read_text()
    (other / CONFIG).write_text(config.replace('"lora_alpha":', '"lora_alpha":1'))
    with pytest.raises(BaseError, match="of another shape"):
        warm_start([world.line[0], other], part, tmp_path / "start")
    assert not (tmp_path / "start").exists()


def test_a_killed_run_begins_at_the_same_start(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", 2)
    whole = world.train(REPTILE, tmp_path / "whole", past=world.line)

    class Killed(Exception):
        pass

    def kill(seen: Progress) -> None:
        if seen.stage == "train" and seen.done == 3:
            raise Killed

    work = tmp_path / "killed"
    with pytest.raises(Killed):
        world.train(REPTILE, work, past=world.line, progress=kill)
    assert list(work.glob("checkpoint-*")) and (work / "start").exists()
    resumed = world.train(REPTILE, work, past=world.line, progress=ignore_progress)
    assert (resumed.digest, resumed.after) == (whole.digest, whole.after)
    assert sorted(path.name for path in work.iterdir()) == ["adapter", "trained.json"]
