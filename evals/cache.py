"""Results kept under the digests of everything they depend on.

The champion is measured for every candidate, and the anchor is the same for years. An
entry is found by the digests of the model, the suite and the settings (which hold the
digest of the prompts as they were rendered and of the code that scores). It carries its
own digest and that of its samples file, so a damaged entry counts as none.
"""

import gzip
import json
import zlib
from pathlib import Path

from pydantic import Field

from tidegate.evals.files import write_whole
from tidegate.evals.samples import Sample, write_samples
from tidegate.gates.digest import digest_file, digest_json
from tidegate.gates.types import Digest, Noun


class Key(Noun):
    model: Digest
    suite: Digest
    settings: Digest


class Entry(Noun):
    """What one model answered to one suite. Nothing that failed is ever kept."""

    key: Key
    samples: tuple[Sample, ...] = Field(min_length=1)
    log: Digest = Field(description="digest of the samples file")
    tokens: int = Field(ge=0, description="tokens that went through the model")
    seconds: float = Field(ge=0)


class Cache:
    """Entries below `cache`/evals."""

    def __init__(self, cache: Path) -> None:
        self.folder = cache / "evals"

    def log(self, key: Key) -> Path:
        return self.folder / f"{_stem(key)}.samples.jsonl.gz"

    def entry(self, key: Key) -> Path:
        return self.folder / f"{_stem(key)}.json.gz"

    def get(self, key: Key) -> Entry | None:
        """The entry, or None if there is none or it is not what was written."""
        try:
            stored = json.loads(gzip.decompress(self.entry(key).read_bytes()))
            entry = Entry.model_validate_json(json.dumps(stored["entry"]))
            whole = stored["digest"] == digest_json(stored["entry"]) and entry.key == key
            return entry if whole and entry.log == digest_file(self.log(key)) else None
        except (OSError, EOFError, zlib.error, ValueError, TypeError, KeyError):
            return None  # ValueError: not JSON, or JSON of another shape

    def put(
        self, key: Key, samples: tuple[Sample, ...], *, tokens: int, seconds: float
    ) -> Entry:
        write_samples(self.log(key), samples)
        log = digest_file(self.log(key))
        entry = Entry(key=key, samples=samples, log=log, tokens=tokens, seconds=seconds)
        body = entry.model_dump(mode="json")
        stored = json.dumps({"digest": digest_json(body), "entry": body}).encode()
        write_whole(self.entry(key), gzip.compress(stored, mtime=0))
        return entry


def _stem(key: Key) -> str:
    return digest_json(key.model_dump(mode="json")).removeprefix("sha256:")
