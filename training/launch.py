"""Train in one process, or in several on this machine, started by torchrun.

    this process      starts torchrun, writes the job into its standard input and keeps that open
    torchrun          starts the processes, and ends all if one ends
    process n         training/distributed.py: one rank of training/ranks.py

If this process ends, even by SIGKILL, the input closes and the others end. If one of the others
ends or does not answer, all end and an error says so; the checkpoint is there for the next run.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from typing import Any

import torch

from tidegate.gates.types import Progress, Report, ignore_progress
from tidegate.training.base import BaseError
from tidegate.training.job import MARK, Job
from tidegate.training.rows import RowsError
from tidegate.training.train import train
from tidegate.training.trained import LostRank, RankError, Trained, TrainingError, finished

MOST = 64  # processes; more than any one machine has GPUs
TIMEOUT = 600.0  # seconds that one process may be waited for within a step
KEPT_LINES = 40  # of what the processes said, for an error that is ours to mend
KNOWN = {error.__name__: error for error in (BaseError, RankError, RowsError, TrainingError)}
# In torchrun's report, of the process that ended first; the others it killed itself.
KILLED = re.compile(r"Root Cause.*?(Signal \d+ \(SIG[A-Z]+\))", re.DOTALL)


def train_in(
    processes: int, job: Job, progress: Report = ignore_progress, timeout: float = TIMEOUT
) -> Trained:
    """As `train`, by so many processes; each has the CPU's threads in equal parts, or a GPU.

    Raises what `train` raises; RankError if this machine cannot share it so; LostRank if a
    process was killed or not heard of for `timeout` seconds. What `progress` raises stops all.
    """
    given = {name: getattr(job, name) for name in Job.model_fields}
    if processes == 1:
        return train(given.pop("recipe"), given.pop("base"), **given, progress=progress)
    if not 1 < processes <= MOST:
        raise RankError(f"{processes} processes cannot train; there can be 1 to {MOST}")
    kept: deque[str] = deque(maxlen=KEPT_LINES)
    errors: list[dict[str, Any]] = []
    inputs = None
    with _started(processes, job, timeout) as running:
        assert running.stdout is not None  # asked for in _started
        for line in running.stdout:
            if not line.startswith(MARK):
                kept.append(line)
                continue
            said = json.loads(line.removeprefix(MARK))
            if "progress" in said:
                progress(Progress(**said["progress"]))
            elif "error" in said:
                errors.append(said)
            else:
                inputs = said["done"]
    if running.returncode == 0 and inputs is not None:
        trained = finished(job.work, inputs)
        if trained is not None:
            return trained
    raise _error(processes, errors, "".join(kept))


@contextlib.contextmanager
def _started(processes: int, job: Job, timeout: float) -> Iterator[subprocess.Popen[str]]:
    """torchrun and its processes; none is left at the end of the block."""
    # torchrun unpickles what its processes agree on, and its usual store can be written by anybody
    # who reaches the machine: so all meet in files, in a folder of this user alone.
    with tempfile.TemporaryDirectory(prefix="tidegate-training-") as meeting:
        command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "1"]
        command += ["--nproc-per-node", str(processes), "--local-addr", "localhost"]
        command += ["--rdzv-backend", "c10d", "--rdzv-conf", "store_type=file"]
        command += ["--rdzv-endpoint", f"{meeting}/torchrun", "--rdzv-id", "tidegate"]
        command += ["-m", "tidegate.training.distributed", f"{meeting}/ranks", str(timeout)]
        with _running(command, processes, job) as running:
            yield running


@contextlib.contextmanager
def _running(command: list[str], processes: int, job: Job) -> Iterator[subprocess.Popen[str]]:
    threads = max(1, torch.get_num_threads() // processes)
    surroundings = {
        # They find each other on this machine, whatever its name resolves to.
        "GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo",
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
    }
    running = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        env=surroundings,
        start_new_session=True,  # Ctrl-C is for this process, which ends the others
    )
    assert running.stdin is not None and running.stdout is not None
    try:
        with contextlib.suppress(BrokenPipeError):  # it ended at once; its output says why
            running.stdin.write(job.model_dump_json() + "\n")
            running.stdin.flush()
        yield running
    except BaseException:
        running.terminate()
        raise
    finally:
        with contextlib.suppress(BrokenPipeError):
            running.stdin.close()
        running.stdout.close()  # before the wait: it may be full, and nobody reads it any more
        running.wait()


def _error(processes: int, errors: list[dict[str, Any]], kept: str) -> Exception:
    """The first cause: that another process is gone is only what follows from one."""
    causes = [one for one in errors if one["error"] != LostRank.__name__]
    if causes:
        cause = causes[0]
        if cause["error"] in KNOWN:
            return KNOWN[cause["error"]](cause["said"])
        return _fault(f"process {cause['rank']}: {cause['error']}: {cause['said']}", kept)
    killed = KILLED.search(kept)
    if killed is None and not errors:
        return _fault("torchrun ended and did not say why", kept)
    why = f"it got {killed[1]}" if killed else errors[0]["said"]
    return LostRank(
        f"one of {processes} training processes is gone: {why}. Nothing was decided; run the "
        "same command again, and training goes on from its last checkpoint"
    )


def _fault(said: str, kept: str) -> Exception:
    """Ours to mend, so with what the processes printed."""
    fault = RuntimeError(f"training in several processes: {said}")
    fault.add_note(kept)
    return fault
