"""What a decision was made with: the code, and every installed package."""

import platform
import subprocess
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

from tidegate.gates.digest import digest_file, digest_json

PACKAGE = Path(__file__).parents[1]
FOLDERS = ("flows", "gates", "training", "evals", "policies")
SUFFIXES = {".py", ".yaml", ".jsonl", ".toml", ".j2"}


@cache
def code_digest() -> str:
    """Name the product's own files as they are on disk, committed or not."""
    files = {
        path.relative_to(PACKAGE).as_posix(): digest_file(path)
        for folder in FOLDERS
        for path in sorted((PACKAGE / folder).rglob("*"))
        if path.is_file() and path.suffix in SUFFIXES
    }
    return digest_json(files)


@cache
def environment_digest() -> str:
    """Name the interpreter and every installed distribution with its version."""
    installed = sorted({f"{d.name.lower()}=={d.version}" for d in distributions()})
    return digest_json({"python": platform.python_version(), "packages": installed})


@cache
def revision() -> str:
    """The git revision of the checkout, or 'unknown' where there is none."""
    command = ["git", "-C", str(PACKAGE), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() if done.returncode == 0 else "unknown"
