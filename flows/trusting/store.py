"""What is known from a trusted batch, as it lies in the home: numbers and their digest.

    trusted/BATCH/known.npz    sketches: sorted arrays of keyed hashes, no objects, no text
    trusted/BATCH/nulls.json   limits, seeds and intervals; names the digest of the sketches

The key of the hashes is derived from the home's own and is in neither file. A file that is
not what its digest says, or was made with another key, is refused.
"""

import io
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, ValidationError

from tidegate.flows.home import Home
from tidegate.flows.intake.home_key import sync_folder
from tidegate.flows.intake.pseudonym import pseudonym_key
from tidegate.flows.usage import UsageError
from tidegate.gates.digest import canonical, digest_bytes, digest_json
from tidegate.gates.policy.calibration import CalibrationError
from tidegate.gates.signals.known import Known
from tidegate.gates.signals.surrogates import epoch_key
from tidegate.gates.types import Digest, Noun

SKETCHES, NULLS = "known.npz", "nulls.json"
ARRAYS = {
    "words": np.uint64,
    "pairs": np.uint64,
    "answers": np.uint64,
    "answer_rows": np.int64,
    "exchanges": np.uint64,
    "exchange_rows": np.int64,
}
LEARNED_FROM = Literal["kept", "reviewed"]


class Limit(Noun):
    """The lowest limit of a column that is shown to err rarely enough on the trusted batch."""

    limit: float | None = Field(description="none: the batch is too small to show any")
    hits: int = Field(ge=0, description="clean records above it, in any split")
    records: int = Field(ge=1)
    low: float = Field(description="95 % interval of the share of hits (Clopper & Pearson)")
    high: float
    largest: float = Field(description="value seen")


class DataCalibration(Noun):
    """What calibrate-data found out about one trusted batch."""

    format: Literal[1] = 1
    batch: Digest
    policy: Digest = Field(description="whose data gates the batch met")
    learned_from: LEARNED_FROM = Field(description="what they kept, or all, after a review")
    rows: int = Field(ge=2, description="records learned from")
    usual: float = Field(gt=0, le=1, description="share of unknown words, of 99 % of records")
    seeds: tuple[int, ...] = Field(min_length=1)
    rate: float = Field(gt=0, lt=1, description="of clean records that a limit may hit")
    limits: dict[str, Limit]
    sketches: Digest
    key: Digest = Field(description="names the key of the hashes, and does not give it away")


@dataclass(frozen=True)
class Trusted:
    """A trusted batch, ready to judge another one with."""

    about: DataCalibration
    known: Known

    @property
    def calibration(self) -> str:
        return digest_json(self.about.model_dump(mode="json"))

    @property
    def limits(self) -> dict[str, float | None]:
        return {column: limit.limit for column, limit in self.about.limits.items()}

    @property
    def said(self) -> dict[str, str]:
        """What names it in a Measurement's settings."""
        return {"trusted": self.about.batch, "calibration": self.calibration}


def place(home: Home, batch: str) -> Path:
    return home.root / "trusted" / batch.removeprefix("sha256:")


def sketch_key(home: Home, batch: str) -> str:
    """16 characters that only this home can make."""
    return epoch_key(pseudonym_key(home), f"trusted {batch}").hex()[:16]


def key_name(home: Home, batch: str) -> str:
    return digest_bytes(epoch_key(pseudonym_key(home), f"name of trusted {batch}"))


def sketches(known: Known) -> bytes:
    """The arrays as a file. Equal sketches give equal bytes."""
    file = io.BytesIO()
    np.savez_compressed(file, **{name: getattr(known, name) for name in ARRAYS})
    return file.getvalue()


def store(home: Home, about: DataCalibration, data: bytes) -> Path:
    """Write both files, the one that names the other last; an earlier pair is replaced."""
    folder = place(home, about.batch)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(folder / SKETCHES, data)
    _write(folder / NULLS, canonical(about.model_dump(mode="json")) + b"\n")
    sync_folder(folder)
    return folder


def load_trusted(home: Home, batch: str) -> Trusted:
    """What was learned from a batch, by its digest.

    Raises UsageError if it was not calibrated, and CalibrationError if the files are not
    what they were when it was.
    """
    folder = place(home, batch)
    if not batch.startswith("sha256:") or not (folder / NULLS).is_file():
        raise UsageError(
            f"--trusted {batch[:80]!r}: no such batch was calibrated in {home.root}; give the "
            "digest that `tidegate calibrate-data --trusted DROP` prints"
        )
    try:
        about = DataCalibration.model_validate_json((folder / NULLS).read_bytes())
        data = (folder / SKETCHES).read_bytes()
        if about.batch != batch or digest_bytes(data) != about.sketches:
            raise _changed(folder)
        if about.key != key_name(home, batch):
            raise CalibrationError(
                f"{folder}: made with another key of pseudonyms, so nothing would be known; "
                f"run tidegate calibrate-data --trusted {batch} again"
            )
        known = _read(data, sketch_key(home, batch), about)
    except (ValidationError, ValueError, KeyError, OSError, zipfile.BadZipFile) as no:
        if isinstance(no, CalibrationError):
            raise
        raise _changed(folder) from no
    return Trusted(about, known)


def _read(data: bytes, key: str, about: DataCalibration) -> Known:
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        arrays = {name: file[name] for name in ARRAYS}
    for name, kind in ARRAYS.items():
        if arrays[name].dtype != kind or arrays[name].ndim != 1:
            raise ValueError(f"{name} is not a row of {kind.__name__}")
    return Known(key=key, rows=about.rows, usual=about.usual, **arrays)


def _changed(folder: Path) -> CalibrationError:
    return CalibrationError(
        f"{folder}: changed or damaged after it was written; find out who changed it, and run "
        "tidegate calibrate-data again"
    )


def _write(path: Path, data: bytes) -> None:
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
