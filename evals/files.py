"""Writing a file so that a reader sees all of it or none of it, and knows a damaged one."""

import gzip
import json
import os
import tempfile
import zlib
from pathlib import Path
from typing import Any

from tidegate.gates.digest import digest_json


def write_whole(path: Path, data: bytes) -> None:
    """Write beside the target, sync, and rename over it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".part-", delete=False) as part:
        try:
            part.write(data)
            part.flush()
            os.fsync(part.fileno())
            os.replace(part.name, path)
        except BaseException:
            Path(part.name).unlink(missing_ok=True)
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
