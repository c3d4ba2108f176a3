"""What the check knows of trust: the lane of every record, and the quotas of the policy."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow.parquet as pq

from tidegate.flows.gateway import keys
from tidegate.flows.home import Home
from tidegate.flows.learned import learned_before
from tidegate.gates.checks.within_quotas import Quota
from tidegate.gates.gate import Params
from tidegate.gates.signals.authenticity import READ, Lane, Lanes
from tidegate.gates.signals.compute import chunks
from tidegate.gates.signals.quotas import Members, Quotas


def lanes_and_quotas(
    home: Home, batch: str, source: Path, asked: Mapping[str, Params], key: str
) -> tuple[Lanes | None, Quotas | None]:
    """What the gates of the policy ask for. batch: digest. source: its Parquet file.

    Raises GatewayKeyError if a key of the home cannot be used.
    """
    if not asked.keys() & {"authentic_responses", "within_quotas"}:
        return None, None
    learned = learned_before(home, batch)
    stored = pq.read_schema(source).names
    columns = [name for name in READ if name in stored]
    lanes = Lanes.of(chunks(source, columns), keys.trusted(home), key, learned.knows)
    quota = asked.get("within_quotas")
    if not isinstance(quota, Quota):
        return lanes, None
    tiers = tuple(
        Members(
            tier.name,
            None if tier.sources is None else frozenset(tier.sources),
            frozenset(
                lane.value
                for lane in Lane
                if lane is not Lane.FORGED
                and (tier.lanes is None or lane.name.lower() in tier.lanes)
            ),
        )
        for tier in quota.tiers
    )
    return lanes, Quotas(tiers, learned.by_author)
