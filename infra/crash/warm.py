"""Processes that start in milliseconds: forks of one that has imported everything.

Each command is a process and a process group of its own, with the command line that a user
types. What is saved is the import of torch, MLflow and the rest, in the command and in the
second process that it starts to see whether a candidate loads (flows/serving.py): that one is
forked here too, from the same imports, and answers over its own pipes.
"""

import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

from infra.crash.points import Point, Watch, kill, read_points

ROOT = Path(__file__).parents[2]
PYTHON = sys.executable  # which a fork replaces: see CLIENT
KILLED = -signal.SIGKILL
READY_WITHIN = 180.0  # seconds for a server that makes its database
LONGEST = 300.0  # seconds for one command of a tiny model
ASKED = "TIDEGATE_CRASH_SOCKET"
# What stands in for the interpreter in a fork: it hands its arguments and pipes over.
CLIENT = """\
#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as asked:
    asked.connect(os.environ["{asked}"])
    socket.send_fds(asked, [json.dumps(sys.argv[1:]).encode()], [0, 1, 2])
    sys.exit(asked.recv(1)[0])
"""


class Ran(NamedTuple):
    """One command: its exit code (negative: a signal), and the points it came to."""

    code: int
    points: list[Point]
    seconds: float
    said: str


def prepare(folder: Path) -> None:
    """The surroundings of every command. Before anything heavy is imported."""
    from tidegate.flows.environment import prepare as surroundings
    from tidegate.flows.home import Home

    for name in ("MLFLOW_TRACKING_URI", "TIDEGATE_HOME"):
        os.environ.pop(name, None)
    os.environ["PREFECT_HOME"] = str(folder / "prefect")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # a fork has no other thread to wait for
    surroundings(Home(folder / "surroundings"))


class Engine:
    """A Prefect server that outlives what is killed, as in a deployment.

    Whoever knows the folder can end it or start it anew at the same address: its number is in a
    file there, since the one that restarts it may be a command that it serves.
    """

    def __init__(self, folder: Path) -> None:
        self.log, self.number = folder / "prefect.log", folder / "prefect.pid"

    def start(self, port: int) -> subprocess.Popen[bytes]:
        command = [PYTHON, "-m", "prefect", "server", "start", "--host", "127.0.0.1"]
        with self.log.open("ab") as log:
            server = subprocess.Popen(
                [*command, "--port", str(port)], stdout=log, stderr=log, start_new_session=True
            )
        self.number.write_text(f"{server.pid} {port}")
        return server

    def stop(self) -> int:
        """End it, and return its port once nobody answers there any more."""
        pid, port = map(int, self.number.read_text().split())
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGTERM)  # it ends its child, which has another group
        end = time.monotonic() + READY_WITHIN
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) != 0:
                    return port
            time.sleep(0.1)
        raise RuntimeError(f"Prefect's server goes on: {self.log.read_text()[-2000:]}")

    def restart(self) -> None:
        port = self.stop()
        until_healthy(self.start(port), f"http://127.0.0.1:{port}/api/health", self.log)


@contextmanager
def engine(folder: Path) -> Iterator[None]:
    """Prefect's server, and all imports."""
    run, port = Engine(folder), free_port()
    server = run.start(port)
    os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
    try:
        load()  # while it starts, which takes as long
        until_healthy(server, f"{os.environ['PREFECT_API_URL']}/health", run.log)
        yield
    finally:
        run.stop()
        server.wait(60)
        os.environ.pop("PREFECT_API_URL")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until_healthy(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Raises RuntimeError with the end of its log if it never answers."""
    end = time.monotonic() + READY_WITHIN
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise RuntimeError(f"a server did not start: {log.read_text()[-2000:]}")


def load() -> None:
    """Import what takes long in a command. Nothing is called: a fork has no thread but its own."""
    import lm_eval.models.huggingface  # noqa: F401
    import mlflow.tracking  # noqa: F401

    import tidegate.flows.cli
    import tidegate.flows.erasing.forget
    import tidegate.flows.serving
    import tidegate.flows.update  # noqa: F401


class Warm:
    """Runs commands on one home. Use as a context: it answers for second processes meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.client, self.socket = folder / "python", folder / "socket"
        self.client.write_text(CLIENT.format(python=sys.executable, asked=ASKED))
        self.client.chmod(0o700)
        self.server = 0

    def __enter__(self) -> Self:
        os.environ[ASKED] = str(self.socket)
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(self.socket))
        listening.listen()
        self.server = fork(lambda: _answer(listening))
        listening.close()
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self.server, signal.SIGKILL)
        os.waitpid(self.server, 0)

    def run(
        self,
        command: list[str],
        home: Path,
        *,
        at: Point | None = None,
        act: Callable[[], object] = kill,
        after: float | None = None,
        longest: float = LONGEST,
    ) -> Ran:
        """`tidegate COMMAND --home HOME`, disturbed at a point, or killed after so many seconds."""
        given = [*command, "--home", str(home)]
        began = time.monotonic()
        with pipe() as log, pipe() as said:
            child = fork(lambda: self._command(given, home, log, said, at, act))
            code, (noted, printed) = _ended(
                child, longest if after is None else after, log, said
            )
        seconds = time.monotonic() - began
        return Ran(code, read_points(noted), seconds, printed.decode(errors="replace"))

    def ask(self, question: Callable[[], Any]) -> Any:
        """What a question comes to, asked in a fork: the parent opens no database itself."""
        out = self.folder / "answer.json"
        out.unlink(missing_ok=True)
        code = _ended(fork(lambda: _write(out, question)))[0]
        if code != 0:
            raise RuntimeError(f"the question ended with {code}")
        return json.loads(out.read_bytes())

    def _command(
        self,
        given: list[str],
        home: Path,
        log: "Pipe",
        said: "Pipe",
        at: Point | None,
        act: Callable[[], object],
    ) -> int:
        for standard in (1, 2):
            os.dup2(said.write, standard)
        for end in (log.read, said.read, said.write):
            os.close(end)
        sys.executable = str(self.client)
        sys.argv = ["tidegate", *given]
        Watch(home, log.write, given[0], at, act).install()
        from tidegate.flows.cli import main

        main()
        return 0


class Pipe(NamedTuple):
    read: int
    write: int


@contextmanager
def pipe() -> Iterator[Pipe]:
    """Its reading end is closed here, the other one by whoever waits for the child."""
    made = Pipe(*os.pipe())
    try:
        yield made
    finally:
        os.close(made.read)


def fork(act: Callable[[], int]) -> int:
    """Do it in a child that leads a group of its own; its return value is the exit code."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        os.setsid()
        code = act()
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:  # noqa: BLE001  # a child may not go on as if it were the parent
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _ended(child: int, after: float = LONGEST, *pipes: Pipe) -> tuple[int, list[bytes]]:
    """Wait for it, and read its pipes meanwhile; or kill its group after so many seconds."""
    for one in pipes:
        os.close(one.write)
    handle = os.pidfd_open(child)
    open_ends = {one.read: bytearray() for one in pipes}
    heard = dict(open_ends)
    end = time.monotonic() + after
    ended = False
    while not ended:
        ready = select.select([handle, *open_ends], [], [], max(0.0, end - time.monotonic()))[0]
        if not ready:
            os.killpg(child, signal.SIGKILL)
            end = time.monotonic() + LONGEST
        for one in ready:
            if one == handle:
                ended = True
            elif not _more(one, heard[one]):
                del open_ends[one]
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(handle)
    if code == KILLED:
        with suppress(ProcessLookupError):  # nothing of a killed group writes any further
            os.killpg(child, signal.SIGKILL)
    for one in open_ends:
        os.set_blocking(one, False)
        with suppress(BlockingIOError):
            while _more(one, heard[one]):
                pass
    return code, [bytes(heard[one.read]) for one in pipes]


def _more(end: int, heard: bytearray) -> bool:
    found = os.read(end, 1 << 16)
    heard.extend(found)
    return bool(found)


def _write(out: Path, question: Callable[[], Any]) -> int:
    out.write_text(json.dumps(question(), allow_nan=False))
    return 0


def _answer(listening: socket.socket) -> int:
    """Fork a process for everybody who asks, and tell them how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    while True:
        asked, _ = listening.accept()
        with asked, suppress(ConnectionError):  # whoever asked may have been killed
            message, pipes, _, _ = socket.recv_fds(asked, 65_536, 3)
            if not message:
                continue
            child = fork(lambda: _module(json.loads(message), pipes))  # noqa: B023
            for end in pipes:
                os.close(end)
            code = _ended(child)[0]
            asked.sendall(bytes([code if code >= 0 else 128 - code]))


def _module(given: list[str], pipes: list[int]) -> int:
    """`python -m MODULE`, with the pipes that came over the socket."""
    for standard, pipe in enumerate(pipes):
        os.dup2(pipe, standard)
    sys.stdin = os.fdopen(0)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    dash, module, *rest = given
    assert dash == "-m", given
    sys.argv = [module, *rest]
    sys.modules.pop(module, None)  # imported by the parent; it is to run as the main module
    runpy.run_module(module, run_name="__main__")
    return 0


def copied(source: Path, target: Path) -> None:
    """Put `target` back to what `source` is; at the same path, which MLflow has written down."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, symlinks=True)


def scratch() -> Path:
    return Path(tempfile.mkdtemp(prefix="tidegate-crash-"))
