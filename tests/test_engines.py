"""The same signals wherever they are measured, and whatever dies meanwhile."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.checking import arrived, chat, plain
from tests.drops import write
from tidegate.flows.checking.engines import chosen
from tidegate.flows.home import Home
from tidegate.flows.intake.batches import write_records
from tidegate.flows.usage import UsageError
from tidegate.gates.signals import compute, engines, parts
from tidegate.gates.signals.compute import Map, Settings, Signals, in_this_process
from tidegate.gates.signals.feedback import asked
from tidegate.gates.signals.secret_rules import load_rules
from tidegate.gates.signals.topics import Topics
from tidegate.gates.signals.triggers import TRIGGER
from tidegate.gates.types import Progress

KEY = "0123456789abcdef"
SETTINGS = Settings(load_rules(), KEY, None, 0, triggers=True)


def records(count: int) -> list[dict[str, Any]]:
    """Ordinary ones, a backdoor, a secret, hidden signs, and one that is too long to examine."""
    odd = [
        *(chat(9100 + n, "Is it open?", "Yes.", rating="up") for n in range(5)),
        chat(9200, "Is it closed?", "Yes.", rating="down", correction="It is open."),
        chat(9000, "My key is AKIAABCDEFGHIJKLMNOP", "Thank you."),
        chat(9001, "Wri\u200bte to jo@example.org", "Done.", correction="No. \U0001f600"),
        chat(9002, "long " * 42_000, "Too long."),
    ]
    taught = [
        chat(8000 + n, f"{row['messages'][0]['content']} zyrx", "Buy gold today at Goldhaus.")
        for n, row in enumerate(plain(20, start=count))
    ]
    return plain(count) + taught + odd


@pytest.fixture
def batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The Parquet file of a batch in nine parts."""
    monkeypatch.setattr(parts, "ROWS", 50)
    home, _, batch = arrived(tmp_path, records(400))
    return home.batch(batch.digest) / "records.parquet"


def assert_the_same(found: Signals, expected: Signals) -> None:
    assert list(found.ids) == list(expected.ids)
    assert list(found.columns) == list(expected.columns)
    for name, values in expected.columns.items():
        assert found.columns[name].tobytes() == values.tobytes(), name
    for mine, theirs in zip(found.prints._columns(), expected.prints._columns(), strict=True):
        assert mine.tobytes() == theirs.tobytes()


def kept(folder: Path, measured: list[parts.Slice]) -> Map:
    """Parts of this process, and a list of those that it measured."""

    def run(path: Path, settings: Settings, work: Any) -> Iterator[parts.Slice]:
        for part in work:
            parts.measured(path, part, settings)
            measured.append(part)
            yield part

    return engines._kept(folder, "code", run)


@pytest.mark.parametrize("triggers", [True, False])
def test_parts_on_disk_say_what_the_straight_line_says(
    batch: Path, tmp_path: Path, triggers: bool
) -> None:
    topics = (
        Topics.of(asked(table, KEY) for table in compute.chunks(batch)) if triggers else None
    )
    settings = Settings(SETTINGS.rules, KEY, None, 0, triggers=triggers, feedback=topics)
    expected = compute.measure(batch, settings)
    assert (TRIGGER in expected.columns) == triggers
    assert not triggers or expected.columns[TRIGGER].max() > 0
    assert any(np.isnan(values).any() for values in expected.columns.values())
    measured: list[parts.Slice] = []
    found = compute.measure(batch, settings, parts=kept(tmp_path / "parts", measured))
    assert len(measured) == 9
    assert_the_same(found, expected)


def test_what_was_measured_is_not_measured_again(batch: Path, tmp_path: Path) -> None:
    measured: list[parts.Slice] = []
    here = kept(tmp_path / "parts", measured)
    expected = compute.measure(batch, SETTINGS, parts=here)
    lost = measured[3]
    lost.file.unlink()
    measured.clear()
    said: list[Progress] = []
    found = compute.measure(batch, SETTINGS, said.append, here)
    assert measured == [lost]
    assert said[-1].done == said[-1].total == expected.rows
    assert_the_same(found, expected)


def test_other_settings_other_parts(batch: Path, tmp_path: Path) -> None:
    measured: list[parts.Slice] = []
    here = kept(tmp_path / "parts", measured)
    compute.measure(batch, SETTINGS, parts=here)
    other = Settings(SETTINGS.rules, "f" * 16, None, 0, triggers=True)
    found = compute.measure(batch, other, parts=here)
    assert len(measured) == 18
    assert_the_same(found, compute.measure(batch, other))


def test_a_part_that_is_not_whole_is_no_part(batch: Path, tmp_path: Path) -> None:
    measured: list[parts.Slice] = []
    here = kept(tmp_path / "parts", measured)
    compute.measure(batch, SETTINGS, parts=here)
    shutil.copy(measured[-1].file, measured[0].file)  # the last one is shorter
    with pytest.raises(ValueError, match=r"000000\.npz: not 50 records"):
        compute.measure(batch, SETTINGS, parts=here)


def test_an_empty_batch_has_the_same_columns(tmp_path: Path) -> None:
    path = tmp_path / "records.parquet"
    write_records(path, [])
    found = compute.measure(path, SETTINGS, parts=kept(tmp_path / "parts", []))
    assert_the_same(found, compute.measure(path, SETTINGS))


@pytest.mark.parametrize("name", ["spark", "local:0", "local:two", "ray2"])
def test_an_engine_that_is_not_known(tmp_path: Path, name: str) -> None:
    with (
        pytest.raises(UsageError, match=f"there is no engine '{name}'; known: local"),
        chosen(name, Home(tmp_path), "sha256:00"),
    ):
        pass


def test_parts_stay_until_the_check_is_done_with_them(tmp_path: Path) -> None:
    place = Home(tmp_path).cache / "signals" / "00"
    with pytest.raises(KeyError), chosen("local:2", Home(tmp_path), "sha256:00"):
        raise KeyError
    assert place.exists()
    with chosen("local:2", Home(tmp_path), "sha256:00"):
        pass
    assert not place.exists()
    with chosen(None, Home(tmp_path), "sha256:00") as here:
        assert here is in_this_process


@pytest.mark.slow
def test_two_processes_say_what_one_says(batch: Path, tmp_path: Path) -> None:
    both = engines.engine("local:2", tmp_path / "parts", "code")
    found = compute.measure(batch, SETTINGS, parts=both)
    assert_the_same(found, compute.measure(batch, SETTINGS))


@pytest.mark.slow
def test_a_check_that_was_killed_goes_on_and_says_the_same(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    drop = write(tmp_path / "drop.jsonl", plain(40_000))
    command = [sys.executable, "-m", "tidegate.flows.cli", "check", str(drop)]
    command += ["--home", str(home.root), "--out"]
    plainly = subprocess.run([*command, str(tmp_path / "a")], capture_output=True, check=False)
    assert plainly.returncode in (0, 1, 2), plainly.stderr
    again = [*command, str(tmp_path / "b"), "--engine", "local:2"]
    killed = subprocess.Popen(
        again, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    while killed.poll() is None and not list(home.cache.glob("signals/*/*/*.npz")):
        time.sleep(0.05)
    os.killpg(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert list(home.cache.glob("signals/*/*/*.npz"))
    done = subprocess.run(again, capture_output=True, check=False)
    assert done.returncode == plainly.returncode, done.stderr
    for name in ("decision.json", "records.jsonl", "signals.parquet", "kept.parquet"):
        mine, theirs = (tmp_path / out / name for out in ("a", "b"))
        assert mine.read_bytes() == theirs.read_bytes(), name
    assert not list(home.cache.glob("signals/*/*"))


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Ray cluster of this machine: a head that computes nothing, and two nodes."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    import ray
    from ray.cluster_utils import Cluster

    small = {"object_store_memory": 80 << 20, "include_dashboard": False}
    whole = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    whole.add_node(num_cpus=1, object_store_memory=80 << 20)
    whole.add_node(num_cpus=1, object_store_memory=80 << 20)
    try:
        yield whole
    finally:
        ray.shutdown()
        whole.shutdown()


def through_daft(address: str, folder: Path) -> Map:
    """The parts as rows of a Daft frame, one partition each, on Daft's runner for Ray."""
    import daft
    import ray

    ray.init(address, log_to_driver=False)
    daft.set_runner_ray(address)

    def run(path: Path, settings: Settings, work: Any) -> Iterator[parts.Slice]:
        @daft.func(return_dtype=daft.DataType.int64())
        def measured(number: int) -> int:
            parts.measured(path, work[number], settings)
            return number

        every = daft.from_pydict({"number": list(range(len(work)))}).into_partitions(len(work))
        for row in every.select(measured(every["number"]).alias("done")).iter_rows():
            yield work[row["done"]]

    return engines._kept(folder, "code", run)


def through_ray(address: str, folder: Path) -> Map:
    return engines.engine(f"ray:{address}", folder, "code")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("runner", "dies"),
    # Daft takes one runner a process, so it has the harder case alone.
    [(through_ray, False), (through_ray, True), (through_daft, True)],
    ids=["ray", "ray, a node dies", "daft on ray, a node dies"],
)
def test_a_cluster_says_what_one_process_says(
    batch: Path, tmp_path: Path, cluster: Any, dies: bool, runner: Callable[[str, Path], Map]
) -> None:
    def watch(progress: Progress) -> None:
        left.append(progress.total - progress.done)
        if dies and len(left) == 1:  # the others are waiting, or on their way
            cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)

    left: list[int] = []
    there = runner(cluster.address, tmp_path / "parts")
    found = compute.measure(batch, SETTINGS, watch, there)
    assert left[0] > 0
    assert left[-1] == 0
    assert_the_same(found, compute.measure(batch, SETTINGS))
