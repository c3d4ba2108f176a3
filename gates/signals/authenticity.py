"""The lane of each record: how far its answer is known to be the deployed model's own.

    signed    a trusted gateway signed this answer to this prompt under this id
    edited    the same, but a correction is what would be learned
    unsigned  no signature
    repeated  signed, and learned before: a good signature counts once
    forged    a signature that is none: another id, prompt, answer or model, or an unknown key

Sees: whether what was signed is what is stored. Lanes are found on the batch as it was
received and then belong to the id, because masking changes what was signed.
Cannot see: who asked, when, and what people said of the answer (none of it is signed); a
user who made the model say something; a gateway that lies, or lost its key.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.gates.signals.caps import fair
from tidegate.gates.signals.prints import Prints, hashes
from tidegate.gates.signals.signatures import GatewayKey, Response, is_valid

READ = ("id", "messages", "correction", "model", "signature")
LANE, LOW_TRUST_SHARE = "lane", "low_trust_share"


class Lane(IntEnum):
    """From the most to the least trusted."""

    SIGNED = 0
    EDITED = 1
    UNSIGNED = 2
    REPEATED = 3
    FORGED = 4


class Lanes:
    """The lane of every record of a batch, by id."""

    def __init__(self, ids: np.ndarray, lanes: np.ndarray, key: str, keys: int) -> None:
        """ids: uint64 hashes keyed with `key`; lanes: int8. keys: how many are trusted."""
        by = np.argsort(ids)
        self._ids, self._lanes, self._key, self.keys = ids[by], lanes[by], key, keys

    @classmethod
    def of(
        cls,
        tables: Iterable[pa.Table],
        keys: Mapping[str, GatewayKey],
        key: str,
        learned: Callable[[str], bool],
    ) -> "Lanes":
        """Found over tables of READ. `learned`: whether a record of this id was learned before.

        key: 16 characters, for the hashes of ids.
        """
        ids, lanes = [np.empty(0, dtype=np.uint64)], [np.empty(0, dtype=np.int8)]
        for table in tables:
            found = np.full(table.num_rows, Lane.UNSIGNED, dtype=np.int8)
            if "signature" in table.column_names:  # batches of older versions have none
                said = np.flatnonzero(pc.is_valid(table["signature"]).to_numpy())
                for row, record in zip(said, table.take(said).to_pylist(), strict=True):
                    found[row] = _lane(record, keys, learned)
            ids.append(hashes(table["id"], key))
            lanes.append(found)
        return cls(np.concatenate(ids), np.concatenate(lanes), key, len(keys))

    def count(self, lane: Lane) -> int:
        """How many records of the batch as it was received are in a lane."""
        return int((self._lanes == lane).sum())

    def measure(self, table: pa.Table) -> dict[str, np.ndarray]:
        """The lane of each record of a table; NaN for one that the batch did not hold."""
        ids = hashes(table["id"], self._key)
        if not len(self._ids):
            return {LANE: np.full(len(ids), np.nan, dtype=np.float32)}
        at = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
        lane = np.where(self._ids[at] == ids, self._lanes[at], np.nan)
        return {LANE: lane.astype(np.float32)}


def counted(lane: np.ndarray, prints: Prints) -> dict[str, np.ndarray]:
    """The share of low trust if a record is kept with all that stand before it.

    They stand in an order that is fair to authors and hashed with a secret. 0 for signed records; 1 for forged and unmeasured ones, which take nobody's place.
    """
    signed = lane == Lane.SIGNED
    low = (lane > Lane.SIGNED) & (lane < Lane.FORGED)
    places = np.zeros(len(lane))
    places[low] = fair(prints.author[low], prints.order[low])
    share = np.where(
        low, places / np.maximum(places + signed.sum(), 1), np.where(signed, 0.0, 1.0)
    )
    return {LOW_TRUST_SHARE: share.astype(np.float32)}


def _lane(
    record: Mapping[str, Any],
    keys: Mapping[str, GatewayKey],
    learned: Callable[[str], bool],
) -> Lane:
    *before, last = record["messages"]
    response = Response(record["id"], before, last["content"], record["model"])
    if not is_valid(record["signature"], response, keys):
        return Lane.FORGED
    if learned(record["id"]):
        return Lane.REPEATED
    correction = record["correction"]
    return Lane.SIGNED if correction in (None, last["content"]) else Lane.EDITED
