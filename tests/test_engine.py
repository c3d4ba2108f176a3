"""Prefect's own server ends with the process that started it, however that ends."""

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

BOUND = [sys.executable, "-m", "tidegate.flows.bound"]
STARTS = """\
import sys
from pathlib import Path
from tidegate.flows.environment import prepare
from tidegate.flows.home import Home
prepare(Home(Path(sys.argv[1])))
from tidegate.flows.engine import start_engine
start_engine()
from prefect.server.api.server import SubprocessASGIServer
print(SubprocessASGIServer().server_process.pid, flush=True)
sys.stdin.read()
"""
FORKS = """\
import os, subprocess, sys
child = subprocess.Popen([*sys.argv[1:4], str(os.getpid()), "/bin/sleep", "600"])
print(child.pid, flush=True)
sys.stdin.read()
"""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's word is Linux's")


def killed(command: list[str]) -> None:
    """Start it, kill it once it named its child, and wait for that one's end."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean
    ) as parent:
        assert parent.stdout is not None
        handle = os.pidfd_open(int(parent.stdout.readline()))
        assert not select.select([handle], [], [], 0)[0]
        parent.kill()
    assert select.select([handle], [], [], 60)[0], "it lives on"
    os.close(handle)


def test_what_is_bound_ends_with_its_parent() -> None:
    killed([sys.executable, "-c", FORKS, *BOUND])


def test_what_begins_after_its_parent_ended_does_not_begin() -> None:
    done = subprocess.run(
        [*BOUND, "1", "/bin/echo", "begun"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and done.stdout == "" and "1 ended before" in done.stderr


@pytest.mark.slow
def test_prefects_own_server_ends_with_a_command_that_is_killed(tmp_path: Path) -> None:
    killed([sys.executable, "-c", STARTS, str(tmp_path / "home")])
