"""An update that is killed after the champion moved: finished by the same command, learned once."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.drops import rows, write
from tests.test_update import World
from tidegate.flows.ledger import Ledger
from tidegate.flows.reconciling.compare import compare
from tidegate.flows.registry import Registry
from tidegate.flows.usage import UsageError
from tidegate.gates.types import Action

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("floor_of_batches", "one_engine")]

CHILD = """
import json, os, signal, sys
from pathlib import Path
from tidegate.flows.environment import prepare
from tidegate.flows.home import Home
given = json.loads(sys.argv[1])
prepare(Home(Path(given["home"])))
from tidegate.flows.registry import Registry
from tidegate.flows.update import update
promote = Registry.promote
def and_die(*said, **more):
    if sys.argv[2] == "after":
        promote(*said, **more)
    os.kill(os.getpid(), signal.SIGKILL)
Registry.promote = and_die
update(**given)
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_around_the_promotion_it_is_finished_not_trained_again(
    tmp_path: Path, moment: str
) -> None:
    world = World(tmp_path)
    given = world.arguments(world.clean)
    command = [sys.executable, "-c", CHILD, json.dumps(given), moment]
    done = subprocess.run(command, env=os.environ.copy(), check=False)
    assert done.returncode == -signal.SIGKILL
    assert world.aliases["champion"] == {"before": "1", "after": "2"}[moment]
    folders = sorted(p.name for p in world.home.updates.glob("u-*"))
    again = world.update(world.clean)
    assert (again.decision.action, again.version) == (Action.PROMOTE, "2")
    assert again.repeated == (moment == "after")
    assert world.aliases["champion"] == "2"
    assert sorted(p.name for p in world.home.updates.glob("u-*")) == folders
    acts = [r["predicate"]["act"] for _, r in Ledger(world.home.ledger).read()]
    assert acts == ["bless", "decide"]
    registry = Registry.open(world.home)
    assert registry.client.get_run(again.run_id).info.status == "FINISHED"
    assert compare(world.home, "tiny").exit_code == 0
    third = world.update(world.clean)
    assert third.repeated and third.statement == again.statement
    _and_never_without_its_result(world, again.update_id)
    other = write(tmp_path / "other.jsonl", [{**r, "id": f"o{r['id']}"} for r in rows(40)])
    assert world.update(other).version == "3"


def _and_never_without_its_result(world: World, update_id: str) -> None:
    """What the champion learned is not learned again because a file is gone or damaged."""
    result = world.home.updates / update_id / "result.json"
    kept = result.read_bytes()
    for damage in (result.unlink, lambda: result.write_text("{")):
        damage()
        with pytest.raises(UsageError, match="result.json"):
            world.update(world.clean)
    result.write_bytes(kept)
