"""What happened, as the ledger, the registry, Prefect and MLflow have it."""

from typing import Any

from infra.day.accounts import decisions, fates
from infra.day.hours import Day
from infra.day.world import MODEL, World

from tidegate.flows.ledger import Ledger
from tidegate.flows.registry import Registry
from tidegate.flows.standing import moves
from tidegate.flows.tracking import STAGE_TAG


def record(world: World, day: Day, wrong: list[str]) -> dict[str, Any]:
    """One document, from which the picture is drawn."""
    written = Ledger(world.home.ledger).read()
    said = [r["predicate"] for _, r in written]
    return {
        "wrong": wrong,
        "arrived": day.arrived,
        "by_hand": day.by_hand,
        "disturbed": world.disturbed,
        "fates": dict(sorted(fates(world).items())),
        "acts": [
            {
                "act": one["act"],
                "at": one["decidedAt"],
                "action": one["about"].get("action"),
                "version": one["about"].get("version"),
                "again": "supersedes" in one["about"],
            }
            for one in said
        ],
        "updates": list(decisions(world.home).values()),
        "serving": [
            {"version": move.version or "1", "from": move.record["predicate"]["decidedAt"]}
            for move in moves(written, MODEL)
        ],
        "runs": _runs(world),
        "stages": _stages(world),
    }


def _runs(world: World) -> list[dict[str, Any]]:
    found = []
    for name in ("update", "update-when-due", "rollback", "reconcile"):
        asked = {"deployments": {"name": {"any_": [name]}}}
        for run in world.server.ask("flow_runs/filter", asked):
            if run["start_time"] is not None:
                found.append(
                    {
                        "deployment": name,
                        "state": run["state"]["type"],
                        "by": (run["created_by"] or {}).get("type", "API"),
                        "from": run["start_time"],
                        "to": run["end_time"],
                    }
                )
    return sorted(found, key=lambda run: str(run["from"]))


def _stages(world: World) -> list[dict[str, Any]]:
    client = Registry.open(world.home, world.registry.url).client
    experiment = client.get_experiment_by_name(MODEL).experiment_id
    found = client.search_runs([experiment], max_results=1000)
    return [
        {
            "stage": run.data.tags[STAGE_TAG],
            "status": run.info.status,
            "from": run.info.start_time,
            "to": run.info.end_time,
        }
        for run in found
        if STAGE_TAG in run.data.tags
    ]
