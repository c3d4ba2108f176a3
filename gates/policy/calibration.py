"""What A/A runs showed of a policy's gates, and the file beside the policy that keeps it.

An A/A run compares two models between which there is nothing to find: the champion and
itself, or two adapters trained on the same rows with another seed. What a gate blocks there
it blocks by chance, and a change that it sees there is noise.

The spreads belong to a suite and a metric, not to a margin. So a policy with another margin
can be judged by the same file (`policy lint` does); the rates are those of the policy that
the file names.
"""

from pathlib import Path
from typing import Self

from pydantic import AwareDatetime, Field, ValidationError

from tidegate.gates.statistics.proportions import clopper_pearson
from tidegate.gates.types import Digest, Noun

SUFFIX = ".calibration.json"


class CalibrationError(ValueError):
    """A calibration that cannot be made or read, and what would do."""


class Rate(Noun):
    """How often something happened, with a 95 % interval (Clopper & Pearson 1934)."""

    hits: int = Field(ge=0)
    n: int = Field(gt=0)
    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)

    @classmethod
    def of(cls, hits: int, n: int) -> Self:
        low, high = clopper_pearson(hits, n)
        return cls(hits=hits, n=n, low=low, high=high)

    @property
    def share(self) -> float:
        return self.hits / self.n


class GateCalibration(Noun):
    """What the A/A runs showed of one gate. Spreads and changes have the metric's unit."""

    n: int = Field(gt=0, description="items of the suite")
    sd_twin: float = Field(
        ge=0, description="of the per-item changes between two twins, median over the pairs"
    )
    sd_update: float = Field(
        ge=0,
        description="of the per-item changes between one ordinary update and its parent. Of a "
        "gate that asks for a level, the spread of the level",
    )
    noise_floor: float = Field(
        ge=0, description="largest mean change, up or down, where there is nothing to find"
    )
    smallest_detectable: float = Field(
        ge=0, description="regression that the gate tells from none, at the policy's rates"
    )
    passes: int = Field(ge=0)
    fails: int = Field(ge=0)
    inconclusive: int = Field(ge=0)


class Calibration(Noun):
    """What `policy calibrate` found for one policy on one base."""

    policy: str
    digest: Digest = Field(description="of the policy")
    base: Digest
    parent: Digest = Field(description="that the twins were trained from")
    recipe: Digest
    batch: Digest
    code: Digest
    made_at: AwareDatetime
    machine: dict[str, str]
    seeds: int = Field(gt=0, description="pairs of twins")
    rows: int = Field(gt=0, description="rows that every twin learned")
    repeats: int = Field(gt=0)
    repeat_noise: float = Field(
        ge=0, description="largest mean change of the parent measured again"
    )
    false_pass_rate: float
    power: float
    false_block_rate: float = Field(description="what the policy allows")
    blocked: Rate = Field(description="pairs in which any gate failed")
    not_passed: Rate = Field(description="pairs in which any gate did not pass")
    gates: dict[str, GateCalibration] = Field(min_length=1, description="by their titles")
    left_out: tuple[str, ...] = Field(description="model gates that A/A runs say nothing of")


def calibration_path(policy: Path) -> Path:
    return policy.with_name(policy.stem + SUFFIX)


def read_calibration(policy: Path) -> Calibration | None:
    """The calibration beside a policy file, or None if there is none.

    Whose policy it is, is for the caller to compare. Raises CalibrationError for a file
    that is there and cannot be read.
    """
    path = calibration_path(policy)
    try:
        return Calibration.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CalibrationError(f"{path}: cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "file"
        raise CalibrationError(
            f"{path}: {where}: {first['msg']}; run `tidegate policy calibrate` again"
        ) from None
