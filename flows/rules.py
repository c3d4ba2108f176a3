"""Which policy counts, and the floor that it stands on."""

import os
from pathlib import Path

from tidegate.gates.policy.load import load_policy
from tidegate.gates.policy.nouns import Policy

POLICIES = Path(__file__).parents[1] / "policies"
DEFAULT_POLICY = POLICIES / "default.yaml"
DEFAULT_RECIPE = POLICIES / "recipes" / "anchored.yaml"
FLOOR_VARIABLE = "TIDEGATE_FLOOR"


def floor_path(floor: Path | None = None) -> Path:
    """The floor that was given, else $TIDEGATE_FLOOR, else the shipped one. Never none."""
    return floor or Path(os.environ.get(FLOOR_VARIABLE) or POLICIES / "floor.yaml")


def read_policy(path: Path, floor: Path | None = None) -> Policy:
    """A policy held against its floor; PolicyError with the line of the first mistake."""
    return load_policy(path, floor=floor_path(floor))


def require_extras(policy: Policy) -> None:
    """Raises NoModel if the policy asks for what is not installed: before any work."""
    if any(getattr(use.params, "names", False) for use in policy.data):
        from tidegate.gates.signals import names  # half a second, which `policy check` has not

        names.require()
