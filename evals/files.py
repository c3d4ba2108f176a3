"""Writing a file so that a reader sees all of it or none of it, and knows a damaged one."""

import gzip
import json
import os
import zlib
from pathlib import Path
from typing import Any

from tidegate.gates.digest import digest_json
from tidegate.gates.drafts import draft_of


def write_whole(path: Path, data: bytes) -> None:
    """Write beside the target, sync, and rename over it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = draft_of(path)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def write_checked(path: Path, body: Any) -> None:
    """Plain data as gzipped JSON with its own digest; equal data makes equal bytes."""
    stored = json.dumps({"digest": digest_json(body), "entry": body}).encode()
    write_whole(path, gzip.compress(stored, mtime=0))


def read_checked(path: Path) -> Any:
    """What write_checked wrote; None if it is not there or is not what was written."""
    try:
        stored = json.loads(gzip.decompress(path.read_bytes()))
        whole = stored["digest"] == digest_json(stored["entry"])
    except (OSError, EOFError, zlib.error, ValueError, TypeError, KeyError):
        return None  # ValueError: not JSON
    return stored["entry"] if whole else None
