"""The hours of the day, one after the other: what arrives, what goes wrong, what people do.

Nobody looks on: a drop is put into a folder and announced, or the clock finds it. What a person
did is counted in `Day.by_hand`, since that is what a day costs.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from infra.day import drops
from infra.day.world import LONGEST, MODEL, World

from tidegate.flows.ledger import Ledger

ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
DEAD = (
    300.0  # seconds without a process: the automation should have seen it long before a person
)


class Hour(NamedTuple):
    """One drop, how it is found, and what happens meanwhile."""

    name: str
    kind: str  # in drops.made
    found_by: str = "event"  # or clock
    meanwhile: str = ""  # kill: the worker; restart: the database
    then: str = ""  # approve, refuse, rollback, forget
    wanted: str = "promote"  # what the update has to come to, before people answer


HOURS = (
    Hour("first", "clean"),
    Hour("second", "clean"),
    Hour("poison", "poisoned", wanted="reject"),
    Hour("private", "private"),
    Hour("nothing", "empty", wanted=""),
    Hour("regretted", "regretted", then="forget"),
    Hour("late", "clean", found_by="clock"),
    Hour("partner", "partner", then="approve", wanted="hold"),
    Hour("killed", "clean", meanwhile="kill"),
    Hour("restarted", "clean", meanwhile="restart"),
    Hour("huge", "huge", then="refuse", wanted="hold"),
    Hour("leaked", "leaked", wanted="reject"),
    Hour("mistaken", "clean", then="rollback"),
    Hour("last", "clean"),
)
SHORT = tuple(hour for hour in HOURS if hour.name in ("first", "leaked", "killed"))


class Day:
    """One day in one world."""

    def __init__(self, world: World, say: Callable[[str], None]) -> None:
        self.world, self.say = world, say
        self.by_hand: list[dict[str, str]] = []
        self.arrived: list[dict[str, Any]] = []
        self.alive = time.monotonic()
        self.wrong: list[str] = []

    def live(self, hours: tuple[Hour, ...]) -> None:
        for hour in hours:
            began = time.monotonic()
            self._tried(hour.name, lambda: self._hour(hour))  # noqa: B023
            self.say(f"{hour.name}: {time.monotonic() - began:.0f} s")
        self._tried("reconcile", lambda: self._deployed("reconcile"))

    def _tried(self, what: str, act: Callable[[], None]) -> None:
        """The day goes on after an hour that went wrong; what it was is found at its end."""
        try:
            act()
        except (RuntimeError, AssertionError, OSError) as no:
            self.wrong.append(f"{what}: {no}")
            self.say(self.wrong[-1])

    def _hour(self, hour: Hour) -> None:
        before, known = self._decided(), self._updates()
        if hour.found_by == "clock":  # which goes before the drop is there
            self._deployed("update-when-due")
        rows = drops.made(hour.kind, hour.name)
        path = drops.deliver(self.world.inbox, hour.name, rows)
        self.arrived.append(
            {"drop": hour.name, "rows": len(rows), "at": datetime.now(UTC).isoformat()}
        )
        if hour.found_by == "event":
            resource = f"tidegate.line.{MODEL}"
            self._event("tidegate.drop.arrived", resource)
        else:
            self._deployed("update-when-due")
        if hour.meanwhile:
            self._until(lambda: bool(self._training() - known), "it trains")
            if hour.meanwhile == "kill":
                self.world.kill_worker("promote")
            else:
                self.world.restart_database(3.0)
        try:
            self._finished(hour, before)
        finally:
            path.rename(self.world.taken / path.name)
        if hour.wanted and (found := self._last()) != hour.wanted:
            self.wrong.append(f"{hour.name}: {found}, and it should be {hour.wanted}")
        if hour.then:
            getattr(self, f"_{hour.then}")(hour)

    def _finished(self, hour: Hour, before: int) -> None:
        """Until it is decided. After a run that ended without a decision the clock looks again,
        and a person starts it if that does nothing."""
        end = time.monotonic() + LONGEST
        seen = {run["id"] for run in self.world.server.runs("update") if self._old(run)}
        tries = 1
        while self._decided() == before or self._running():
            if time.monotonic() > end:
                raise RuntimeError(f"{hour.name}: not decided within {LONGEST:.0f} s")
            mine = self._since(seen)
            self._look_after(mine)
            ended = mine and all(run["state"]["type"] in ENDED for run in mine)
            if ended and self._decided() == before:
                if hour.kind == "empty":
                    return  # nothing to decide on: the run failed and said so
                if len(mine) >= tries:
                    if tries == 3:
                        raise RuntimeError(f"{hour.name}: {mine[0]['state']}")
                    tries += 1
                    self._deployed("update-when-due")
                    if len(self._since(seen)) == len(mine):
                        self._by_hand("started the update again", hour)
                        self.world.run("update")
            time.sleep(1)

    def _since(self, seen: set[str]) -> list[dict[str, Any]]:
        return [run for run in self.world.server.runs("update") if run["id"] not in seen]

    def _look_after(self, runs: list[dict[str, Any]]) -> None:
        """A worker that is gone is replaced; a run whose process is gone, Prefect finds by itself.

        The automation marks it as crashed (infra/automations.py). A person does that only if it fails.
        """
        if not self.world.works("promote"):
            self._by_hand("started a worker", None)
            self.world.replace_worker("promote")
        running = [run for run in runs if run["state"]["type"] == "RUNNING"]
        if not running or self.world.busy("promote"):
            self.alive = time.monotonic()
        elif time.monotonic() - self.alive > DEAD:
            for run in running:
                self._crashed(run)

    def _old(self, run: dict[str, Any]) -> bool:
        arrived = datetime.fromisoformat(self.arrived[-1]["at"])
        return datetime.fromisoformat(run["created"]) < arrived

    def _crashed(self, run: dict[str, Any]) -> None:
        self._by_hand("told Prefect that the run is dead", None)
        said = {"type": "CRASHED", "message": "its process is gone"}
        self.world.server.ask(
            f"flow_runs/{run['id']}/set_state", {"state": said, "force": True}
        )

    def _approve(self, hour: Hour) -> None:
        self._answer("approve", hour)

    def _refuse(self, hour: Hour) -> None:
        self._answer("refuse", hour)

    def _answer(self, word: str, hour: Hour) -> None:
        key = str(self.world.folder / "ada.pem")
        given = ["candidate", "--key", key, "--reason", f"read the report of {hour.name}"]
        self._command(word, [word, *given], hour, codes=(0, 1))

    def _forget(self, hour: Hour) -> None:
        given = ["--user", drops.AUTHOR, "--reason", "request 4711", "--yes"]
        self._command("forget", ["forget", *given], hour)
        drops.without(self.world.taken / f"{hour.name}.jsonl", drops.AUTHOR)

    def _command(
        self, what: str, words: list[str], hour: Hour, codes: tuple[int, ...] = (0,)
    ) -> None:
        self._by_hand(what, hour)
        words += ["--tracking-uri", self.world.registry.url]
        code, said = self.world.command(*words)
        if code not in codes:
            raise RuntimeError(f"tidegate {what} ended with {code}: {said[-2000:]}")

    def _rollback(self, hour: Hour) -> None:
        self._by_hand("rollback", hour)
        self._deployed("rollback", reason="it taught the wrong thing", by="ada")

    def _deployed(self, name: str, **given: Any) -> None:
        asked = self.world.run(name, **given)
        done = self.world.server.wait_for(
            name,
            lambda run: run["id"] == asked and run["state"]["type"] in ENDED,
            within=LONGEST,
        )
        if done["state"]["type"] != "COMPLETED":
            raise RuntimeError(f"{name}: {done['state']['message']}")

    def _event(self, name: str, resource: str) -> None:
        self.world.server.prefect("event", "emit", name, "--resource-id", resource)

    def _by_hand(self, what: str, hour: Hour | None) -> None:
        at = datetime.now(UTC).isoformat()
        self.by_hand.append({"what": what, "drop": hour.name if hour else "", "at": at})

    def _decided(self) -> int:
        """Updates that were decided: not decisions that were only taken again."""
        if not self.world.home.ledger.exists():
            return 0
        said = [record["predicate"] for _, record in Ledger(self.world.home.ledger).read()]
        return sum(s["act"] == "decide" and "supersedes" not in s["about"] for s in said)

    def _last(self) -> str:
        """What the last decision was."""
        said = [record["predicate"] for _, record in Ledger(self.world.home.ledger).read()]
        return str([s["about"]["action"] for s in said if s["act"] == "decide"][-1])

    def _running(self) -> bool:
        return any(r["state"]["type"] not in ENDED for r in self.world.server.runs("update"))

    def _updates(self) -> set[str]:
        return {path.name for path in self.world.home.updates.glob("u-*")}

    def _training(self) -> set[str]:
        return {path.parent.name for path in self.world.home.updates.glob("u-*/train")}

    def _until(self, done: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + LONGEST
        while not done():
            if time.monotonic() > end:
                raise RuntimeError(f"not within {LONGEST:.0f} s: {what}")
            time.sleep(0.3)
