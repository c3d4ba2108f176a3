"""The `backtest` deployment: it reads the ledger and stored evidence only (pool `data`)."""

from pathlib import Path

from prefect import flow
from prefect.artifacts import create_table_artifact

from tidegate.flows.deployments.parameters import Age, ModelLine
from tidegate.flows.home import Home
from tidegate.flows.looking_back import backtest as looking
from tidegate.flows.looking_back.backtest import Backtested
from tidegate.flows.rules import DEFAULT_POLICY


@flow(name="backtest", persist_result=True)
def backtest(
    policy: str = str(DEFAULT_POLICY),
    model: ModelLine = "assistant",
    since: Age | None = None,
    changes: list[str] | None = None,
    floor: str | None = None,
    home: str | None = None,
) -> Backtested:
    """Decide all past updates again under a policy; the table says which would flip.

    Args:
        policy: The policy, a YAML file.
        model: The model line.
        since: Only updates this recent, as 90d or 12h.
        changes: PATH=VALUE on top of the policy, as
            model.not_worse(refusal.margin).than.champion=0.05.
        floor: The policy that every policy must meet; the shipped one if none is given.
        home: Folder of the state; the worker's TIDEGATE_HOME if none is given.
    """
    found = looking.backtest(
        Path(policy),
        home=Home.find(Path(home) if home else None),
        model=model,
        since=since,
        changes=changes or (),
        floor=Path(floor) if floor else None,
    )
    create_table_artifact(
        key="backtest",
        table=table(found),
        description=f"{found.policy} on the past updates of {found.model}",
    )
    return found


def table(found: Backtested) -> list[dict[str, str]]:
    """One row an update, oldest first: what was decided, and what would be."""
    decided = [
        (u.decided_at, u.version, u.was, u.now or "would go on to training", u.says)
        for u in found.updates
    ]
    lost = [(u.decided_at, u.version, u.was, "cannot say", u.why) for u in found.undecided]
    columns = ("decided", "version", "then", "now", "in words")
    return [dict(zip(columns, map(str, row), strict=True)) for row in sorted(decided + lost)]
