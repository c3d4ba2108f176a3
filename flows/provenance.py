"""What a decision was made with, and for whom: code, installed packages, the requester."""

import getpass
import platform
import subprocess
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

from tidegate.flows.usage import UsageError
from tidegate.gates.digest import digest_file, digest_json
from tidegate.gates.types import Digest, Noun

PACKAGE = Path(__file__).parents[1]
FOLDERS = ("flows", "gates", "training", "evals", "policies")
SUFFIXES = {".py", ".yaml", ".jsonl", ".toml", ".j2"}


@cache
def code_digest(folders: tuple[str, ...] = FOLDERS) -> str:
    """Name the product's own files as they are on disk, committed or not."""
    files = {
        path.relative_to(PACKAGE).as_posix(): digest_file(path)
        for folder in folders
        for path in sorted((PACKAGE / folder).rglob("*"))
        if path.is_file() and path.suffix in SUFFIXES
    }
    return digest_json(files)


class Environment(Noun):
    """The interpreter and every installed distribution, as name==version."""

    python: str
    packages: tuple[str, ...]

    @property
    def digest(self) -> Digest:
        return digest_json(self.model_dump(mode="json"))


@cache
def environment() -> Environment:
    """What this process runs with."""
    installed = sorted({f"{d.name.lower()}=={d.version}" for d in distributions()})
    return Environment(python=platform.python_version(), packages=tuple(installed))


def environment_digest() -> str:
    """Name the interpreter and every installed distribution with its version."""
    return environment().digest


@cache
def revision() -> str:
    """The git revision of the checkout, or 'unknown' where there is none."""
    command = ["git", "-C", str(PACKAGE), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def login_name() -> str:
    """The user that this process runs as; raises UsageError where it has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        raise UsageError(
            "this process runs as a user without a name, and a statement says who asked for "
            "the update: give --requester NAME"
        ) from None
