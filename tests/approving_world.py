"""A world of held updates, and people who answer for them."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.waiver_world import NOW, World
from tidegate.flows.approving.answer import Answered, answer
from tidegate.flows.waiving.waivers import kept_path, new_waiver, said, write

SOON = NOW + timedelta(hours=1)
TWO = "quorum: 2, valid_for: 72h"
WHY = "| the batch <b>repeats</b> known facts"


def says(
    world: World, by: str, word: Any = "approve", version: str = "2", **more: Any
) -> Answered:
    given = {"reason": WHY, "lasts": None, "now": SOON, **more}
    return answer(world.home, "m", version, word, world.signers[by], **given)


def acts(world: World) -> list[tuple[str, str]]:
    return [
        (r["predicate"]["act"], str(r["predicate"]["about"]["action"]))
        for _, r in world.ledger.read()
    ]


def waiver_for(world: World, gate: str) -> Path:
    data = new_waiver(
        world.home,
        "m",
        "2",
        gate=gate,
        reason="r",
        ticket="t",
        requester="dora",
        lasts=3600.0 * 48,
        now=NOW,
        signer=world.signers["ada"],
    )
    path = kept_path(world.home, said(data).digest)
    write(path, data)
    return path
