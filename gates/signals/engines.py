"""Where the records of a batch are measured: in other processes, or on a Ray cluster.

What is done for one part is the same everywhere (parts.measured), and the sums over all
records are always made in this process, from the parts in their order. So the result does not
depend on where, in which order or how often a part was measured.

On a cluster every node must see the batch and the folder of the parts under the same path.
The tasks are Ray's own and not those of Daft's runner for Ray: a task whose node died is run
again elsewhere, and nothing but one task for each part is needed. Daft is used on each node.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib.util import find_spec
from pathlib import Path

from tidegate.gates.signals import parts
from tidegate.gates.signals.compute import Map, Part, Settings, in_this_process
from tidegate.gates.signals.parts import Slice
from tidegate.gates.types import Progress, Report

RETRIES = 8  # of one part, when nodes die; what it raises itself is never tried again
FORMS = "local, local:PROCESSES, ray, ray:ADDRESS"
Run = Callable[[Path, Settings, Sequence[Slice]], Iterator[Slice]]  # says what is done


def engine(named: str, folder: Path, code: str) -> Map:
    """The map of an engine, one of FORMS other than plain local.

    folder: where the parts are kept. code: names the code that measures.
    Raises ValueError for another name, ImportError where Ray is not installed.
    """
    kind, _, what = named.partition(":")
    if kind == "ray":
        if find_spec("ray") is None:
            raise ImportError("the engine ray needs Ray: pip install 'tidegate[ray]'")
        return _kept(
            folder, code, lambda *work: _on_ray(named if "//" in what else what, *work)
        )
    if kind == "local" and what.isdecimal() and int(what) > 0:
        return _kept(folder, code, lambda *work: _in_processes(int(what), *work))
    raise ValueError(f"there is no engine {named!r}; known: {FORMS}")


def _kept(folder: Path, code: str, run: Run) -> Map:
    """Measures only the parts that are not there yet, then reads all of them in order."""

    def map_parts(path: Path, settings: Settings, progress: Report) -> Iterator[Part]:
        place = folder / parts.name(path, settings, code).removeprefix("sha256:")
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        every = parts.slices(path, place)
        if not every:  # an empty batch has its columns too
            yield from in_this_process(path, settings, progress)
        missing = [part for part in every if not part.file.exists()]
        total = sum(part.rows for part in every)
        done = total - sum(part.rows for part in missing)
        for part in run(path, settings, missing) if missing else ():
            done += part.rows
            progress(Progress("signals", done, total, "records"))
        for part in every:
            yield from parts.read(part)

    return map_parts


_settings: Settings  # of a process that was started to measure


def _begin(settings: Settings) -> None:
    global _settings
    _settings = settings


def _measure(path: Path, part: Slice) -> Slice:
    parts.measured(path, part, _settings)
    return part


def _in_processes(
    count: int, path: Path, settings: Settings, work: Sequence[Slice]
) -> Iterator[Slice]:
    # Spawned: a process with threads, as Arrow's and Daft's, must not be forked.
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(count, len(work)), fresh, _begin, (settings,)) as pool:
        for done in as_completed([pool.submit(_measure, path, part) for part in work]):
            yield done.result()


def _on_ray(
    address: str, path: Path, settings: Settings, work: Sequence[Slice]
) -> Iterator[Slice]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # Ray reports its use to its makers otherwise
    import ray

    if not ray.is_initialized():
        ray.init(address or None, log_to_driver=False, include_dashboard=False)
    shared = ray.put(settings)

    def measure(settings: Settings, part: Slice) -> Slice:
        parts.measured(path, part, settings)
        return part

    task = ray.remote(num_cpus=1, max_retries=RETRIES)(measure)
    waiting = [task.remote(shared, part) for part in work]
    while waiting:
        ready, waiting = ray.wait(waiting)
        yield from ray.get(ready)
