"""`torchrun … -m tidegate.training.distributed FILE SECONDS`: one of several processes that train.

Started by training/launch.py, never by hand. Its standard input is the launcher's: rank 0 reads
the job from it, one line of JSON, so that texts which a candidate will be asked are in no file.
Nothing more comes, and when it closes the launcher has ended, however that came about, and so
does this process: nobody may go on writing to a work folder that was given up.

To standard output go progress, and the one error or the end, as lines for the launcher. FILE: where
the processes meet. SECONDS: how long another one may be waited for within a step.
"""

import json
import os
import sys
import threading
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import torch

from tidegate.gates.types import Progress
from tidegate.training.base import device_and_dtype
from tidegate.training.job import MARK, Job
from tidegate.training.ranks import Together
from tidegate.training.train import train
from tidegate.training.trained import RankError

STANDARD_INPUT = 0
CHARACTERS = 1500  # of an error; longer lines of two processes could mix in the pipe


def main() -> NoReturn:
    rank = int(os.environ["RANK"])
    try:
        meeting, seconds = sys.argv[1:]
        inputs = _train(Path(meeting), timedelta(seconds=float(seconds)))
    except Exception as error:  # noqa: BLE001  # told to the launcher, which raises it
        traceback.print_exc()
        said = str(error)[:CHARACTERS]
        tell({"error": type(error).__name__, "said": said, "rank": rank})
        _end(1)
    if rank == 0:
        tell({"done": inputs})
    _end(0)


def _train(meeting: Path, timeout: timedelta) -> str:
    ranks = Together(_device(), timeout, meeting)
    job = Job.model_validate_json(ranks.first(_line))
    threading.Thread(target=_ends_with_the_launcher, daemon=True).start()
    given = {name: getattr(job, name) for name in Job.model_fields}
    recipe, base = given.pop("recipe"), given.pop("base")
    report = _report if ranks.rank == 0 else _say_nothing
    return train(recipe, base, **given, progress=report, ranks=ranks).inputs


def _device() -> torch.device:
    """This process's own: the CPU, or the GPU of its number."""
    kind, _ = device_and_dtype()
    if kind == "cpu":
        return torch.device("cpu")
    local, here = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if local >= here:
        raise RankError(f"there are {here} GPUs: train with --processes {here} at most")
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


def _line() -> bytes:
    """The job. Unbuffered: what follows is the end, and another thread waits for it."""
    with os.fdopen(STANDARD_INPUT, "rb", buffering=0, closefd=False) as given:
        return given.readline()


def _ends_with_the_launcher() -> None:
    while os.read(STANDARD_INPUT, 1):
        pass
    _end(1)


def tell(said: dict[str, Any]) -> None:
    sys.stdout.write(f"{MARK}{json.dumps(said)}\n")
    sys.stdout.flush()


def _report(now: Progress) -> None:
    tell({"progress": now._asdict()})


def _say_nothing(_: Progress) -> None:
    pass


def _end(code: int) -> NoReturn:
    # No farewell to the others: one that is stuck would be waited for.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
