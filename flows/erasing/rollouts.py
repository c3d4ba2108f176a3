"""Answers that models wrote to questions of rows, and learned from (training/rollouts.py).

They are not rows: a file of them says whose question it was, and not what the model that
answered had learned of whom. So an erasure removes every folder of them, whatever it asks for:
they serve nothing but to go on with a training that was killed, which writes the same again.
A rebuild writes new ones. What is left in the end must come from an update that is known to
have learned no row of these people, and from a parent that went on.
"""

import json
from pathlib import Path

import pyarrow as pa

from tidegate.flows.erasing.plan import Plan
from tidegate.flows.home import Home
from tidegate.flows.tracing import index
from tidegate.flows.tracing.wanted import Wanted
from tidegate.training.methods import NOTES, ROLLOUTS


def folders(home: Home) -> list[Path]:
    """Every folder of them, in updates and wherever else something was trained."""
    return sorted(path for path in home.root.rglob(ROLLOUTS) if path.is_dir())


def suspect(home: Home, plan: Plan, wanted: Wanted) -> list[Path]:
    """Those of which it is not known that they hold nothing of the rows."""
    marks = [pa.array(sorted(m), pa.string()) for m in (wanted.records, wanted.authors)]
    gone = {one.adapter for one in plan.going if one.adapter is not None}
    return [
        folder
        for folder in folders(home)
        if not (_written_by_others(folder, gone) and _asked_of_others(home, folder, marks))
    ]


def _written_by_others(folder: Path, gone: set[str]) -> bool:
    """Whether each was written to its end, by a model that is not among those that go."""
    for one in folder.iterdir():
        try:
            writer = json.loads((one / NOTES).read_bytes())["parent"]
        except (OSError, ValueError, KeyError, TypeError):
            return False
        if writer in gone:
            return False
    return True


def _asked_of_others(home: Home, folder: Path, marks: list[pa.Array]) -> bool:
    """Whether its update noted what it learned, and none of it has these marks."""
    if not folder.is_relative_to(home.updates):
        return False
    trace = index.noted(home, folder.relative_to(home.updates).parts[0])
    if trace is None:
        return False
    return not set(trace.marked(*marks)["fate"].to_pylist()) & set(index.IN_THE_WEIGHTS)
