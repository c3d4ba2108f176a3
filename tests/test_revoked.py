"""A waiver counts no more once its signer was taken out of the file of reviewers."""

from pathlib import Path

import pytest

from tests.approving_world import waiver_for
from tests.waiver_world import NOW, REFUSAL, World, empty_database, world
from tidegate.flows.asked import remember
from tidegate.flows.waiving.waivers import check_waiver
from tidegate.gates.digest import digest_bytes

__all__ = ["empty_database", "world"]
pytestmark = pytest.mark.slow


def held(world: World, approval: str = "quorum: 1, valid_for: 72h", **changes: float) -> Path:
    """A held update that remembers its policy's path; the path."""
    done = world.update("u-1", world.policy(approval), **(changes or {"gain": -0.2}))
    path = world.folder / f"{digest_bytes(approval.encode())[7:15]}.yaml"
    remember(world.home.updates / done.update_id, str(path), None, None, None)
    return path


def take_out(world: World, name: str) -> None:
    file = world.folder / "reviewers.yaml"
    lines = [line for line in file.read_text().splitlines() if f'"{name}"' not in line]
    file.write_text("\n".join(lines) + "\n")


def test_a_waiver_of_a_reviewer_who_was_taken_out_counts_for_nothing(world: World) -> None:
    held(world, refusal=-0.5)
    path = waiver_for(world, REFUSAL)
    assert not check_waiver(path.read_bytes(), path, world.home, NOW).reasons
    take_out(world, "ada")
    assert check_waiver(path.read_bytes(), path, world.home, NOW).reasons
