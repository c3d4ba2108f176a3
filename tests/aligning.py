"""Constructed evidence for the gates on alignment, drift, time and consequences."""

import random
from collections.abc import Sequence
from pathlib import Path

from tidegate.gates.policy.load import load_policy
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.types import Measurement

SUBJECT = "sha256:" + "5" * 64
ROLES = ("anchor", "champion", "candidate")
TEXT = """\
policy: one gate
version: 1
why: a test
statistics: {{on_inconclusive: hold}}
data:
  - {{gate: fits_schema, why: a test}}
model:
  - {{{gate}, why: a test}}
"""


def policy(folder: Path, gate: str, unsure: str = "hold") -> Policy:
    path = folder / "policy.yaml"
    path.write_text(TEXT.format(gate=gate).replace("hold}", unsure + "}"))
    return load_policy(path)


def measured(
    name: str,
    values: Sequence[float],
    *,
    slices: Sequence[str] | None = None,
    by: str = "slice",
    planned: int | None = None,
    how: str = "same",
) -> Measurement:
    n = len(values)
    return Measurement(
        name=name,
        value=sum(values) / n,
        n=n,
        items=tuple(f"i{k}" for k in range(n)),
        values=tuple(values),
        slices={by: tuple(slices)} if slices else {},
        settings={"prompts": how},
        planned=n if planned is None else planned,
    )


def suite(
    name: str, changes: Sequence[float], *, slices: Sequence[str] | None = None, seed: int = 0
) -> list[Measurement]:
    """A suite on three models: the baselines alike, the candidate changed item by item."""
    draw = random.Random(f"{name}{seed}")
    base = [draw.gauss(0.5, 0.5) for _ in changes]
    now = [b + c for b, c in zip(base, changes, strict=True)]
    return [
        measured(f"{name}@{role}", now if role == "candidate" else base, slices=slices)
        for role in ROLES
    ]


def around(mean: float, n: int = 80, spread: float = 0.1, seed: int = 1) -> list[float]:
    """n changes whose mean is exactly this."""
    draw = random.Random(seed)
    values = [draw.gauss(0, spread) for _ in range(n)]
    middle = sum(values) / n
    return [mean + v - middle for v in values]
