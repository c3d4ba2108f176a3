"""Several processes: the adapter of one, to the last bit; and none is left when one is lost."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.test_cartridge import CARTRIDGE
from tests.test_frozen import METHODS, Deep
from tests.test_grpo import GRPO
from tests.test_rollouts import LORA as LEARNER
from tests.test_rollouts import STAR, World
from tests.test_training import ANCHORED, LORA, Killed, Place, kill_after
from tests.tiny import tiny_records
from tidegate.flows.errors import no_memory
from tidegate.gates.types import Progress
from tidegate.training.adapter_digest import WEIGHTS, adapter_digest
from tidegate.training.base import BaseError
from tidegate.training.job import Job
from tidegate.training.launch import _error, train_in
from tidegate.training.ranks import _taken
from tidegate.training.recipe import Recipe
from tidegate.training.trained import LostRank, RankError, Trained, TrainingError

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]

WHOLE = {name: r.model_copy(update={"frozen_layers": None}) for name, r in METHODS.items()}
SHARED = {
    **WHOLE,
    "frozen": METHODS["anchored"],
    "alone in each pack": WHOLE["replay"].model_copy(update={"max_tokens": 64}),
    "cartridge": CARTRIDGE.model_copy(update={"epochs": 2}),
    "less memory": WHOLE["replay"].model_copy(update={"gradient_checkpointing": True}),
}
ITSELF = {"star": STAR, "grpo": GRPO}


def job(
    place: Place,
    recipe: Recipe,
    work: Path,
    *,
    past: tuple[Path, ...] = (),
    new: Path | None = None,
) -> Job:
    """past: the parent first."""
    return Job(
        recipe=recipe,
        base=place.base,
        parent=past[0] if past else None,
        new=new or place.new,
        replay=place.replay,
        anchors=place.anchors,
        work=work,
        past=past,
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Deep:
    return Deep(tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="module")
def line(place: Deep, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """The adapters of two updates, newest first."""
    folder = tmp_path_factory.mktemp("line")
    first = train_in(1, job(place, LORA, folder / "first")).adapter
    return train_in(1, job(place, LORA, folder / "second", past=(first,))).adapter, first


@pytest.fixture(scope="module")
def jobs(
    place: Deep, line: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Job]:
    """One of every method; `reptile` continues a line, and who learns from itself knows a bit."""
    nowhere = Path("/nowhere")
    found = {
        name: job(place, recipe, nowhere, past=line if name == "reptile" else ())
        for name, recipe in SHARED.items()
    }
    world = World(tmp_path_factory.mktemp("world"))
    half = LEARNER.model_copy(update={"epochs": 6})
    taught, work = world.folder / "first.parquet", world.folder / "half"
    for name, parent in (
        ("star", world.parent),
        ("grpo", world.train(half, taught, work, None).adapter),
    ):
        found[name] = found["lora"].model_copy(
            update={
                "recipe": ITSELF[name],
                "base": world.base,
                "parent": parent,
                "new": world.yes,
                "replay": None,
                "anchors": None,
            }
        )
    return found


@pytest.fixture(scope="module")
def folder(jobs: dict[str, Job], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them by two processes, in one start."""
    folder = tmp_path_factory.mktemp("two")
    for name, one in jobs.items():
        asked = one.model_copy(update={"work": folder / name})
        (folder / f"{name}.json").write_text(asked.model_dump_json())
    script = Path(__file__).with_name("two_ranks.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*command, "--nproc-per-node", "2", str(script), str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    return folder


@pytest.mark.parametrize("name", [*SHARED, *ITSELF])
def test_two_processes_make_the_adapter_of_one(
    name: str, folder: Path, jobs: dict[str, Job], tmp_path: Path
) -> None:
    one = train_in(1, jobs[name].model_copy(update={"work": tmp_path}))
    assert adapter_digest(folder / name / "adapter") == one.digest
    shared = Trained.model_validate_json(
        (folder / name / "trained.json").read_bytes()[:-1] + b',"adapter":"-"}'
    )
    assert (one.processes, shared.processes) == (1, 2)
    assert shared.history == one.history
    assert shared.after == one.after
    ends = [(folder / f"{name} trained weights {rank}").read_bytes() for rank in (0, 1)]
    assert ends[0] == ends[1]
    starts = (folder / f"{name} weights and plan before training 1").read_bytes()
    assert starts != ends[1], "nothing was learned"
    assert not list((folder / name).glob("*partial*"))


def test_processes_that_differ_are_found_out(folder: Path) -> None:
    for rank, other in ((0, 1), (1, 0)):
        said = (folder / f"differs {rank}").read_text()
        assert said.startswith(f"processes {rank} and {other} differ in their number")


@pytest.mark.parametrize("processes", [2, 3])
def test_the_number_of_processes_decides_nothing(
    processes: int, place: Deep, line: tuple[Path, ...], tmp_path: Path
) -> None:
    recipe = ANCHORED.model_copy(update={"max_tokens": 100})  # five packs a step and more
    one = train_in(1, job(place, recipe, tmp_path / "one", past=line))
    seen: list[Progress] = []
    asked = job(place, recipe, tmp_path / "two", past=line)
    two = train_in(processes, asked, seen.append)
    assert two.digest == one.digest
    assert (tmp_path / "two/adapter" / WEIGHTS).read_bytes() == (
        tmp_path / "one/adapter" / WEIGHTS
    ).read_bytes()
    assert two.history == one.history
    assert two.processes == processes
    assert two.threads == 1
    assert [p.done for p in seen if p.stage == "train"] == list(range(1, two.steps + 1))
    # What is finished is not trained again, by however many.
    assert train_in(1, asked) == two


LONG = ANCHORED.model_copy(update={"epochs": 8})  # 24 steps; a checkpoint is of 20


@pytest.mark.parametrize("then", [2, 1])
def test_a_killed_run_goes_on_from_its_checkpoint(
    then: int, place: Deep, tmp_path: Path
) -> None:
    whole = train_in(1, job(place, LONG, tmp_path / "whole"))
    with pytest.raises(Killed):
        train_in(2, job(place, LONG, tmp_path / "killed"), kill_after(22))
    assert not processes_of(os.getpid())
    assert [p.name for p in (tmp_path / "killed").glob("checkpoint-*")] == [
        "checkpoint-00000020"
    ]
    steps: list[int] = []
    resumed = train_in(
        then,
        job(place, LONG, tmp_path / "killed"),
        lambda p: steps.append(p.done) if p.stage == "train" else None,
    )
    assert steps[0] == 21
    assert resumed.digest == whole.digest
    assert resumed.history == whole.history
    assert resumed.processes == 2, "of those that shared a step"


def processes_of(launcher: int) -> dict[int, int]:
    """Rank and number of the training processes that a launcher started."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            given = (folder / "environ").read_bytes()
            words = (folder / "cmdline").read_bytes()
        except OSError:
            continue  # gone, or of somebody else
        mine = f"STARTED_BY_TEST={launcher}\0".encode() in given
        if mine and b"tidegate.training.distributed" in words and b"\0RANK=" in given:
            rank = given.split(b"\0RANK=")[1].split(b"\0")[0]
            found[int(rank)] = int(folder.name)
    return found


@pytest.fixture(autouse=True)
def marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARTED_BY_TEST", str(os.getpid()))


def send(rank: int, number: signal.Signals) -> Callable[[Progress], None]:
    """Send a signal to one rank after the second step."""

    def progress(seen: Progress) -> None:
        if seen.stage == "train" and seen.done == 2:
            os.kill(processes_of(os.getpid())[rank], number)

    return progress


# Which of the two is seen first, the end of one or that the other misses it, is a matter of luck.
GONE = r"one of 2 training processes is gone: (it got Signal 9 \(SIGKILL\)|another .* is gone)"


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
@pytest.mark.parametrize(
    ("rank", "number", "said"),
    [
        (1, signal.SIGKILL, GONE),
        (0, signal.SIGKILL, GONE),
        (1, signal.SIGSTOP, "gone: .* did not answer for 5 s"),
    ],
)
def test_one_lost_process_ends_all(
    rank: int, number: signal.Signals, said: str, place: Deep, tmp_path: Path
) -> None:
    long = LORA.model_copy(update={"epochs": 400})
    began = time.monotonic()
    with pytest.raises(LostRank, match=said):
        train_in(2, job(place, long, tmp_path), send(rank, number), timeout=5)
    assert time.monotonic() - began < 90
    assert not processes_of(os.getpid())
    assert not (tmp_path / "adapter").exists()


def listening(process: int) -> set[str]:
    """The addresses that a process listens on, as the kernel writes them."""
    links = [os.readlink(fd) for fd in Path(f"/proc/{process}/fd").iterdir()]
    own = {link[8:-1] for link in links if link.startswith("socket:[")}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{process}/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and words[9] in own:
                found.add(words[1].split(":")[0])
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
def test_the_processes_listen_to_this_machine_alone(place: Deep, tmp_path: Path) -> None:
    found: list[set[str]] = []

    def look(seen: Progress) -> None:
        if seen.stage == "train" and not found:
            found.extend(listening(one) for one in processes_of(os.getpid()).values())

    train_in(2, job(place, LORA, tmp_path), look)
    assert found == [{"0100007F"}] * 2, "127.0.0.1"


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
def test_no_process_outlives_its_launcher(place: Deep, tmp_path: Path) -> None:
    asked = tmp_path / "job.json"
    long = LORA.model_copy(update={"epochs": 1000})
    asked.write_text(job(place, long, tmp_path / "work").model_dump_json())
    code = (
        "import os, sys; from pathlib import Path\n"
        "os.environ['STARTED_BY_TEST'] = str(os.getpid())\n"
        "from tidegate.training.launch import _error, train_in\n"
        "from tidegate.training.job import Job\n"
        "job = Job.model_validate_json(Path(sys.argv[1]).read_bytes())\n"
        "train_in(2, job, lambda p: print(p.done, flush=True) if p.stage == 'train' else None)\n"
    )
    launcher = subprocess.Popen(
        [sys.executable, "-c", code, str(asked)], stdout=subprocess.PIPE, text=True
    )
    assert launcher.stdout is not None
    assert launcher.stdout.readline() == "1\n"
    assert sorted(processes_of(launcher.pid)) == [0, 1]
    launcher.kill()
    launcher.communicate()
    until = time.monotonic() + 60
    while processes_of(launcher.pid) and time.monotonic() < until:
        time.sleep(0.2)
    assert not processes_of(launcher.pid)


@pytest.mark.parametrize(
    ("changes", "rows", "error", "said"),
    [
        ({"targets": ("c_attn",)}, None, BaseError, "no linear layer named 'c_attn'"),
        ({}, [("?", "")], TrainingError, "no row can be learned from"),
    ],
)
def test_an_error_is_that_of_one_process(
    changes: dict[str, object],
    rows: list[tuple[str, str]] | None,
    error: type[Exception],
    said: str,
    place: Deep,
    tmp_path: Path,
) -> None:
    new = tiny_records(tmp_path / "new.parquet", rows) if rows else place.new
    with pytest.raises(error, match=said):
        train_in(2, job(place, LORA.model_copy(update=changes), tmp_path / "w", new=new))


@pytest.mark.parametrize("processes", [0, -1, 65])
def test_a_number_that_cannot_be_meant_is_refused(
    processes: int, place: Deep, tmp_path: Path
) -> None:
    with pytest.raises(RankError, match=f"{processes} processes cannot train; there can be 1"):
        train_in(processes, job(place, LORA, tmp_path))


def test_a_weight_without_a_gradient_is_refused() -> None:
    reached, other = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))
    reached.grad, other.grad = torch.ones(2), torch.ones(3)
    assert _taken([reached, other]).tolist() == [1.0] * 5
    assert reached.grad is None and other.grad is None
    reached.grad = torch.ones(2)
    with pytest.raises(RankError, match="no gradient to 1 of 2 trained weights"):
        _taken([reached, other])


LOST = {"error": "LostRank", "said": "another process of training is gone", "rank": 0}
FULL = {"error": "OutOfMemoryError", "said": "CUDA out of memory", "rank": 1}
REPORT = "Failures:\nSignal 15 (SIGTERM)\nRoot Cause (first):\n rank: 1\n Signal 9 (SIGKILL)\n"


@pytest.mark.parametrize(
    ("errors", "printed", "kind", "said"),
    [
        ([LOST, {**FULL, "error": "TrainingError", "said": "no"}], "", TrainingError, "no"),
        ([LOST, FULL], REPORT, RuntimeError, "process 1: OutOfMemoryError: CUDA out of memory"),
        ([], "Traceback", RuntimeError, "torchrun ended and did not say why"),
        (
            [],
            REPORT,
            LostRank,
            r"one of 2 .*: it got Signal 9 \(SIGKILL\). Nothing was decided",
        ),
        ([LOST], "Root Cause:\n exitcode: 1", LostRank, "another process of training is gone"),
    ],
)
def test_the_first_cause_is_what_is_said(
    errors: list[dict[str, object]], printed: str, kind: type[Exception], said: str
) -> None:
    found = _error(2, errors, printed)
    assert type(found) is kind
    assert re.search(said, str(found))
    if kind is RuntimeError:  # ours to mend
        assert found.__notes__ == [printed]
    assert bool(no_memory(found)) == (FULL in errors)
