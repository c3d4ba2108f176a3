"""Answers kept under the digests of everything they depend on, chunk by chunk.

The champion is measured for every candidate, and the anchor is the same for years. A chunk
of items is found by its items and by the digests of the model, the suite and the settings
(which hold the digests of the prompts as they were rendered and of the code that scores).
An entry carries its own digest, so a damaged one counts as none. Asking for more items of a
suite later only measures the chunks that are not here.
"""

import json
from pathlib import Path

from pydantic import Field

from tidegate.evals.files import read_checked, write_checked
from tidegate.evals.samples import Sample
from tidegate.gates.digest import digest_json
from tidegate.gates.types import Digest, Noun


class Key(Noun):
    model: Digest
    suite: Digest
    settings: Digest
    items: tuple[str, ...] = Field(min_length=1, description="in the order of the suite")


class Entry(Noun):
    """What one model answered to one chunk. Nothing that failed is ever kept."""

    key: Key
    samples: tuple[Sample, ...]


class Cache:
    """Entries below `cache`/evals."""

    def __init__(self, cache: Path) -> None:
        self.folder = cache / "evals"

    def entry(self, key: Key) -> Path:
        stem = digest_json(key.model_dump(mode="json")).removeprefix("sha256:")
        return self.folder / f"{stem}.json.gz"

    def get(self, key: Key) -> tuple[Sample, ...] | None:
        """The samples, or None if there are none or they are not what was written."""
        try:
            entry = Entry.model_validate_json(json.dumps(read_checked(self.entry(key))))
        except ValueError:
            return None  # nothing there, or JSON of another shape
        complete = tuple(sample.item for sample in entry.samples) == key.items
        return entry.samples if entry.key == key and complete else None

    def put(self, key: Key, samples: tuple[Sample, ...]) -> None:
        body = Entry(key=key, samples=samples).model_dump(mode="json")
        write_checked(self.entry(key), body)
