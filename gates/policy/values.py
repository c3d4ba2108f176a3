"""Values that a policy writes as text: lengths of time and ranges of numbers.

valid_for: 72h          s, m, h or d
rank: "<=32"            also ">=8", "8..32" (both ends included) and a plain number
"""

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, model_serializer, model_validator

from tidegate.gates.types import Noun

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
NUMBER = r"[0-9]+(?:\.[0-9]+)?(?:e-?[0-9]+)?"


def _seconds(value: object) -> object:
    if isinstance(value, str):
        found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([smhd])", value)
        if found is None:
            raise ValueError(f"{value!r} is no length of time; write it as 90s, 30m, 2h or 7d")
        return float(found[1]) * SECONDS[found[2]]
    raise ValueError(f"{value!r} has no unit; write it as 90s, 30m, 2h or 7d")


# Seconds, written with a unit in the file.
Duration = Annotated[float, BeforeValidator(_seconds), PlainSerializer(lambda s: f"{s!r}s")]


class Range(Noun):
    """A closed range of numbers; an end that is None is open."""

    low: float | None = None
    high: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return {"low": float(value), "high": float(value)}
        if not isinstance(value, str):
            return value
        text = value.replace(" ", "")
        if found := re.fullmatch(rf"(<=|>=)({NUMBER})", text):
            return {"high" if found[1] == "<=" else "low": float(found[2])}
        if found := re.fullmatch(rf"({NUMBER})\.\.({NUMBER})", text):
            low, high = float(found[1]), float(found[2])
            if low > high:
                raise ValueError(f"the range {value!r} is empty: it ends before it begins")
            return {"low": low, "high": high}
        if re.fullmatch(NUMBER, text):
            return {"low": float(text), "high": float(text)}
        raise ValueError(f"{value!r} is no range; write it as '<=32', '>=8', '8..32' or 16")

    @model_serializer
    def _written(self) -> str:
        return str(self)

    def __contains__(self, value: float) -> bool:
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        return low <= value <= high  # NaN is in no range

    def within(self, other: "Range") -> bool:
        """Whether every number of this range is also in the other."""
        above = other.low is None or (self.low is not None and self.low >= other.low)
        below = other.high is None or (self.high is not None and self.high <= other.high)
        return above and below

    def __str__(self) -> str:
        if self.low is None:
            return f"<={self.high!r}"
        if self.high is None:
            return f">={self.low!r}"
        return f"{self.low!r}..{self.high!r}"
