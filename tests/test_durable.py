"""Files that are whole or not there, and what processes that were killed left of them."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tidegate.evals.files import write_whole
from tidegate.flows import durable
from tidegate.flows.errors import no_engine, no_memory, no_room
from tidegate.flows.intake.home_key import write_private
from tidegate.gates.drafts import draft_of


def ended() -> int:
    """The number of a process that is no more."""
    child = subprocess.Popen([sys.executable, "-IS", "-c", ""])
    child.wait()
    return child.pid


@pytest.mark.parametrize("write", [durable.replace, write_private, write_whole])
def test_drafts_of_the_dead_are_removed_and_of_the_living_kept(
    tmp_path: Path, write: Callable[[Path, bytes], None]
) -> None:
    target = tmp_path / "result.json"
    dead, ours, alive = (tmp_path / f".result.json.{n}" for n in (ended(), os.getpid(), 1))
    others = [tmp_path / ".result.json.key", tmp_path / f".other.json.{ended()}"]
    for path in (dead, ours, alive, *others):  # ours: of one before us that had our number
        path.write_text("half")
    write(target, b"whole")
    assert target.read_bytes() == b"whole"
    assert sorted(tmp_path.iterdir()) == sorted([target, alive, *others])


def test_a_draft_that_is_a_folder_goes_and_what_a_link_leads_to_stays(tmp_path: Path) -> None:
    target, kept = tmp_path / "base", tmp_path / "kept"
    for folder in (tmp_path / f".base.{ended()}" / "deep", kept):
        folder.mkdir(parents=True)
        (folder / "weights").write_text("half")
    (tmp_path / f".base.{ended()}0").symlink_to(kept)
    assert draft_of(target) == tmp_path / f".base.{os.getpid()}"
    assert list(tmp_path.iterdir()) == [kept] and (kept / "weights").exists()


@pytest.mark.parametrize("write", [durable.replace, write_private, write_whole])
def test_what_was_killed_in_writing_leaves_nothing_once_it_is_written_again(
    tmp_path: Path, write: Callable[[Path, bytes], None]
) -> None:
    target = tmp_path / "result.json"
    child = os.fork()
    if child == 0:
        os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
        write(target, b"whole")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == [f".result.json.{child}"]
    write(target, b"whole")
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("mode", [None, 0o600, 0o640, 0o644])
def test_a_file_keeps_its_mode_and_its_draft_is_read_by_no_more_people(
    tmp_path: Path, mode: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, drafts = tmp_path / "rows.jsonl", list[int]()
    if mode is not None:
        target.write_bytes(b"old")
        target.chmod(mode)
    sync = os.fsync

    def seen(handle: int) -> None:
        drafts.append(os.fstat(handle).st_mode & 0o777)
        sync(handle)

    monkeypatch.setattr(os, "fsync", seen)
    durable.replace(target, b"new")
    assert target.stat().st_mode & 0o777 == drafts[0] == (0o644 if mode is None else mode)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate"), True),
        (RuntimeError("can't start new thread"), True),
        (RuntimeError("the loss is nan"), False),
    ],
)
def test_memory_that_ran_out_is_told_from_other_errors(error: Exception, said: bool) -> None:
    assert bool(no_memory(error)) == said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            RuntimeError("Error while serializing: I/O error: File too large (os error 27)"),
            True,
        ),
        (RuntimeError("I/O error: No space left on device (os error 28)"), True),
        (OSError(28, "No space left on device", "path"), False),  # it names the path itself
        (RuntimeError("the header is too large"), False),
    ],
)
def test_a_disk_that_is_full_is_told_from_other_errors(error: Exception, said: bool) -> None:
    assert bool(no_room(error)) == said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (httpx.ConnectError("All connection attempts failed"), True),
        (httpx.ReadTimeout("timed out"), True),
        (ValueError("connection"), False),
    ],
)
def test_an_engine_that_went_away_is_said(error: Exception, said: bool) -> None:
    assert bool(no_engine(error)) == said
