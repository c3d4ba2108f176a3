"""How things are named: SHA-256 of bytes, of files, and of the canonical form of JSON."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CHUNK = 1 << 20


def digest_bytes(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest_file(path: Path) -> str:
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def canonical(value: Any) -> bytes:
    """The one way to write a value as JSON, so that equal values have equal digests.

    Sorted keys, no spaces, UTF-8. NaN and infinity raise ValueError.
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def digest_json(value: Any) -> str:
    return digest_bytes(canonical(value))


def digest_folder(folder: Path) -> str:
    """Name a folder by its files' relative paths and contents, in sorted order."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return digest_json({p.relative_to(folder).as_posix(): digest_file(p) for p in files})


def item_order(items: Sequence[str], seed: str) -> list[str]:
    """A random order that is the same everywhere, and that new items do not disturb.

    Sorted by the SHA-256 of seed and item.
    """
    return sorted(items, key=lambda item: digest_bytes(f"{seed}\n{item}".encode()))
