"""Files that are whole or not there, and what processes that were killed left of them."""

import subprocess
import sys
from pathlib import Path

import pytest

from tidegate.flows import durable
from tidegate.flows.errors import no_memory


def ended() -> int:
    """The number of a process that is no more."""
    child = subprocess.Popen([sys.executable, "-IS", "-c", ""])
    child.wait()
    return child.pid


def test_drafts_of_the_dead_are_removed_and_of_the_living_kept(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    dead, alive = (tmp_path / f".result.json.{number}" for number in (ended(), 1))
    others = [tmp_path / ".result.json.key", tmp_path / f".other.json.{ended()}"]
    for path in (dead, alive, *others):
        path.write_text("half")
    durable.replace(target, b"whole")
    assert target.read_bytes() == b"whole"
    assert sorted(tmp_path.iterdir()) == sorted([target, alive, *others])


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate"), True),
        (RuntimeError("the loss is nan"), False),
    ],
)
def test_memory_that_ran_out_is_told_from_other_errors(error: Exception, said: bool) -> None:
    assert bool(no_memory(error)) == said
