"""What is kept of an accepted batch, and what is never drawn again."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tidegate.flows import replay_store
from tidegate.flows.home import Home

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def kept(folder: Path, name: str, rows: int, negatives: int = 0) -> Path:
    learn = ["negative"] * negatives + ["target"] * (rows - negatives)
    path = folder / f"{name}.parquet"
    pq.write_table(pa.table({"id": [f"{name}{i}" for i in range(rows)], "learn": learn}), path)
    return path


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    replay_store.remember(home, A, kept(tmp_path, "a", 400, negatives=10))
    replay_store.remember(home, B, kept(tmp_path, "b", 30))
    return home


def ids(draw: replay_store.Draw) -> list[str]:
    assert draw.path is not None
    return pq.read_table(draw.path)["id"].to_pylist()


def test_a_draw_is_even_over_batches_and_the_same_again(home: Home, tmp_path: Path) -> None:
    first = replay_store.draw(home, [A, B], 20, 5, (), tmp_path / "one")
    again = replay_store.draw(home, [B, A], 20, 5, (), tmp_path / "two")
    assert first.by_batch == {A: 10, B: 10}
    assert ids(first) == ids(again)


def test_another_seed_draws_other_rows(home: Home, tmp_path: Path) -> None:
    one = replay_store.draw(home, [A], 20, 1, (), tmp_path / "one")
    two = replay_store.draw(home, [A], 20, 2, (), tmp_path / "two")
    assert ids(one) != ids(two)


def test_quarantined_and_erased_rows_never_come_back(home: Home, tmp_path: Path) -> None:
    never = {f"b{i}" for i in range(25)}
    drawn = replay_store.draw(home, [B], 30, 1, never, tmp_path / "one")
    assert sorted(ids(drawn)) == [f"b{i}" for i in range(25, 30)]


def test_thumbs_down_rows_are_not_kept(home: Home, tmp_path: Path) -> None:
    drawn = replay_store.draw(home, [A], 400, 1, (), tmp_path / "one")
    assert drawn.rows == replay_store.RESERVOIR
    assert not {f"a{i}" for i in range(10)} & set(ids(drawn))


def test_rows_that_are_gone_are_an_error_not_a_smaller_draw(home: Home, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="accepted batch are gone"):
        replay_store.draw(home, ["sha256:" + "c" * 64], 5, 1, (), tmp_path / "one")


def test_the_first_update_rehearses_nothing(home: Home, tmp_path: Path) -> None:
    assert replay_store.draw(home, [], 20, 5, (), tmp_path / "one").path is None
