"""A year of a deployment in one walk, by the commands that a person types, on a tiny model.

Held, approved, learned again, rolled back; the ledger edited and an alias moved by hand, both
found; and an author forgotten. Each step looks only at what the command says and ends with.
"""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.drops import rows, write
from tests.test_forget import AUTHOR, ROWS, SECRET
from tests.test_update import World
from tidegate.flows.cli import main
from tidegate.flows.erasing.verify import holds_any
from tidegate.flows.registry import Registry

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("floor_of_batches")]

APPROVED = "approval: {when: always, quorum: 1, reviewers: reviewers.yaml}\n"


class Person:
    """Somebody at a terminal."""

    def __init__(
        self, world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.world, self.capsys = world, capsys
        self.argv = lambda *words: monkeypatch.setattr(sys, "argv", ["tidegate", *words])
        monkeypatch.setenv("TIDEGATE_HOME", str(world.home.root))

    def types(self, *words: str, ends: int = 0) -> str:
        self.argv(*words)
        with pytest.raises(SystemExit) as end:
            main()
        said = self.capsys.readouterr()
        code = 0 if end.value.code is None else end.value.code
        assert code == ends, f"{' '.join(words)}: {code}\n{said.out}\n{said.err}"
        return said.out

    def reads(self, *words: str, ends: int = 0) -> Any:
        return json.loads(self.types(*words, "--json", ends=ends))

    @property
    def champion(self) -> str:
        return self.world.aliases["champion"]


@pytest.fixture
def person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Person:
    world = World(tmp_path)
    write(world.clean, [*rows(40), *ROWS])
    return Person(world, monkeypatch, capsys)


def test_the_walk(person: Person) -> None:
    folder, world = person.world.folder, person.world
    given = world.arguments(world.next, method="replay")
    policy, recipe = Path(given["policy"]), folder / "replay.yaml"
    asking = folder / "asking.yaml"
    asking.write_text(policy.read_text().replace("policy: tiny", "policy: asking") + APPROVED)
    common = ("--model", "tiny")
    learn = ("--recipe", str(recipe), *common, "--requester", "bob")

    # Held, and approved by somebody else than who asked.
    key = folder / "ada.pem"
    public = person.reads("key", "new", "ada", "--out", str(key))
    person.types(
        "reviewer", "add", "--name", "ada", "--key", public["key"],
        "--file", str(folder / "reviewers.yaml"),
    )  # fmt: skip
    person.types("update", str(world.clean), "--policy", str(asking), *learn, ends=2)
    assert person.champion == "1"
    (waits,) = person.reads("approvals", *common)
    assert waits["version"] == "2"
    answer = (*common, "--key", str(key), "--reason", "read the report")
    person.types("approve", "2", *answer)
    assert person.champion == "2"

    # Learned again, and rolled back.
    person.types("update", str(world.next), "--policy", str(policy), *learn)
    assert person.champion == "3"
    person.types("rollback", *common, "--reason", "complaints")
    assert person.champion == "2"

    # The ledger is edited: found, and nobody goes on with it.
    ledger = world.home.ledger
    kept = ledger.read_bytes()
    ledger.write_bytes(kept.replace(b"payload", b"Payload", 1))
    person.types("ledger", "verify", ends=4)
    person.types("update", str(world.next), "--policy", str(policy), *learn, ends=4)
    ledger.write_bytes(kept)
    person.types("ledger", "verify")

    # An alias is moved by hand: found, and put back.
    Registry.open(world.home).client.set_registered_model_alias("tiny", "champion", "3")
    (finding,) = person.reads("reconcile", *common, ends=1)["findings"]
    assert finding["kind"] == "alias_moved"
    person.types("update", str(world.next), "--policy", str(policy), *learn, ends=4)
    person.types("reconcile", *common, "--repair")
    assert person.champion == "2"

    # An author is forgotten: the rebuild is held as the update was, and approved.
    forget = ("forget", "--user", AUTHOR, "--yes")
    plan = person.reads("forget", "--user", AUTHOR, "--plan")
    assert [line["ancestor"] for line in plan["lines"]] == ["1"]
    held = person.reads(*forget, ends=2)
    assert (held["exact"], person.champion) == (True, "1")
    assert [step["action"] for step in held["rebuilt"]] == ["hold"]
    person.types("approve", "4", *answer)
    done = person.reads(*forget)
    assert (done["exact"], person.champion) == (True, "4")
    assert [step["action"] for step in done["rebuilt"]] == ["promote"]
    assert not [
        p for p in world.home.root.rglob("*") if p.is_file() and holds_any(p, [SECRET.encode()])
    ]
    person.types("reconcile", *common)
    person.types("ledger", "verify")
