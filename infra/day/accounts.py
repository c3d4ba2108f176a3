"""Whether the day ends well: every row has one fate, the stores agree, what was erased is gone.

Everything is counted from what lies in the stores, and nothing from what the day had planned.
"""

import json
import os
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from infra.day import drops
from infra.day.world import DATABASES, MODEL, World

from tests.services import BUCKET, postgres_binaries
from tidegate.flows.checking import quarantine
from tidegate.flows.erasing.tombstones import Erased
from tidegate.flows.erasing.verify import holds_any
from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.registry import Registry
from tidegate.flows.tracing import index
from tidegate.flows.tracing.marks import Marker
from tidegate.flows.tracing.steps import ancestry, read_steps

NO_CONSENT, UNKNOWN = "without consent", "UNACCOUNTED"


def wrong(world: World) -> list[str]:
    """Each thing that is not as it should be."""
    said = []
    code, found = world.command("reconcile", "--tracking-uri", world.registry.url, "--json")
    if code != 0:
        said.append(f"reconcile ended with {code}: {found}")
    code, found = world.command("ledger", "verify", "--json")
    if code != 0:
        said.append(f"ledger verify ended with {code}: {found}")
    counted = fates(world)
    said += [f"{n} rows are unaccounted for" for n in [counted[UNKNOWN]] if n]
    return [*said, *_quarantines(world.home), *_unfinished(world), *_erased_text(world)]


def decisions(home: Home) -> dict[str, dict[str, Any]]:
    """The last decision about each update, by its id."""
    last = {}
    for _, record in Ledger(home.ledger).read():
        predicate, about = record["predicate"], record["predicate"]["about"]
        if predicate["act"] == "decide":
            batch = next(s for s in record["subject"] if s["name"] == "batch")
            update = about.get("update_id", about["decision_id"])  # a second decision has both
            last[update] = {
                "update": update,
                "action": about["action"],
                "version": about["version"],
                "batch": f"sha256:{batch['digest']['sha256']}",
                "rows": about["batch"]["rows"],
                "quarantined": about["quarantined"],
                "at": predicate["decidedAt"],
            }
    return last


def fates(world: World) -> Counter[str]:
    """How many rows of all drops ended where; each in exactly one place."""
    home, marker, counted = world.home, Marker(world.home), Counter[str]()
    where = _where(world)
    erased = Erased(home).wanted.records
    counted["erased"] = len(erased)
    for path in sorted(world.taken.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            name = json.loads(line)["id"]
            mark = marker.record(name)
            if mark in erased:
                counted["erased, and in a drop"] += 1
            elif mark in where:
                counted[where[mark]] += 1
            else:
                counted[UNKNOWN] += 1
    return counted


def _where(world: World) -> dict[str, str]:
    """What became of each mark, by the lineage and the last decision about its update."""
    home = world.home
    champion = Registry.open(home, world.registry.url).aliases(MODEL)["champion"]
    serving = {step.version for step in ancestry(read_steps(home), MODEL, champion)}
    dropped = set(map(Marker(home).record, _dropped(home)))
    order = (
        NO_CONSENT,
        "rolled back",
        "refused",
        "held",
        "quarantined",
        "kept, not a target",
        "learned",
    )
    found: dict[str, str] = {}
    for update, decided in decisions(home).items():
        if not home.batch(decided["batch"]).exists():
            continue  # erased, and a smaller one has taken its place
        for mark, fate in _marks(home, update, decided["batch"]):
            if fate == index.REPLAYED:
                continue
            said = {"reject": "refused", "hold": "held"}.get(decided["action"], "")
            if fate == index.REFUSED:
                said = NO_CONSENT if mark in dropped else "quarantined"
            elif not said and fate == index.KEPT:
                said = "kept, not a target"
            elif not said:
                said = "learned" if decided["version"] in serving else "rolled back"
            found[mark] = max(found.get(mark, said), said, key=order.index)
    return found


def _marks(home: Home, update: str, batch: str) -> list[tuple[str, str]]:
    rows = index.read(home, update, batch).rows
    return list(zip(rows["record"].to_pylist(), rows["fate"].to_pylist(), strict=True))


def _dropped(home: Home) -> Iterator[str]:
    """Ids that came without consent, by the list that each check leaves."""
    for path in home.updates.glob("u-*/check/records.jsonl"):
        for said in map(json.loads, path.read_text().splitlines()):
            if any(reason["gate"] == "has_consent" for reason in said["reasons"]):
                yield said["id"]


def _quarantines(home: Home) -> list[str]:
    """Each quarantine holds as many rows as the decision says."""
    said = []
    for update, decided in decisions(home).items():
        if not home.batch(decided["batch"]).exists():
            continue
        held = sum(t.num_rows for t in quarantine.read(home, decided["batch"], columns=["id"]))
        if held != decided["quarantined"]:
            said.append(f"{update}: {held} in quarantine, {decided['quarantined']} recorded")
    return said


def _unfinished(world: World) -> list[str]:
    """Runs that nobody works on any more and that say they run."""
    client = Registry.open(world.home, world.registry.url).client
    experiment = client.get_experiment_by_name(MODEL).experiment_id
    found = client.search_runs([experiment], "attributes.status = 'RUNNING'", max_results=500)
    said = [f"MLflow: run {run.info.run_name} is still RUNNING" for run in found]
    asked = {"flow_runs": {"state": {"type": {"any_": ["RUNNING", "PENDING"]}}}}
    waiting = world.server.ask("flow_runs/filter", asked)
    return said + [
        f"Prefect: run {one['name']} is still {one['state']['name']}" for one in waiting
    ]


def _erased_text(world: World) -> list[str]:
    """Every file, every object and every table that still has a word of who was erased."""
    forms = [drops.SECRET.encode(), drops.AUTHOR.encode()]
    said = []
    with tempfile.TemporaryDirectory() as folder:
        for path in [*_tables(world, Path(folder)), *_objects(world, Path(folder))]:
            if holds_any(path, forms):
                said.append(f"erased text in {path.name}")
        for path in sorted(world.folder.rglob("*")):
            if path.is_file() and path.name != "commands.log" and holds_any(path, forms):
                said.append(f"erased text in {path.relative_to(world.folder)}")
    return said


def _tables(world: World, folder: Path) -> Iterator[Path]:
    for name in DATABASES:
        out = folder / f"{name}.sql"
        command = [str(postgres_binaries() / "pg_dump"), "-f", str(out)]
        subprocess.run([*command, world.database.url(name)], check=True, env=dict(os.environ))
        yield out


def _objects(world: World, folder: Path) -> Iterator[Path]:
    client = world.store.client()
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    for number, one in enumerate(o for page in pages for o in page.get("Contents", [])):
        out = folder / f"{number}-{Path(one['Key']).name}"
        client.download_file(BUCKET, one["Key"], str(out))
        yield out
