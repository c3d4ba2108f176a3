"""The floor: a policy that every other policy must meet, gate by gate.

A policy inherits nothing from its floor. It must have each of the floor's gates itself, at
least as strict, so that whoever reads the policy reads all of it. What the floor does not
say it does not ask: its own defaults bind nobody.
"""

from tidegate.gates.policy.nouns import Policy
from tidegate.gates.tighter import loosened
from tidegate.gates.yaml_file import Where, YamlFile

SECTIONS = ("baselines", "statistics", "envelope", "approval", "budget", "proof")


def meets_floor(file: YamlFile, policy: Policy, floor: Policy, ground: YamlFile) -> None:
    """Raise PolicyError where the policy falls below the floor."""
    for stage in ("data", "model"):
        here = {use.title: use for use in getattr(policy, stage)}
        for use in getattr(floor, stage):
            if use.title not in here:
                raise file.error(
                    (stage,),
                    f"the gate {use.title} is left out, and the floor {ground.path} asks for "
                    f"it; add it under {stage}:",
                )
            found = loosened(use, here[use.title], stated=True)
            if found:
                raise file.error(
                    _gate_at(file, stage, use.gate, found.where),
                    f"{use.title} is looser than the floor {ground.path}: {found}",
                )
    for name in SECTIONS:
        if name not in ground.data:
            continue
        before, after = getattr(floor, name), getattr(policy, name)
        if after is None:
            raise file.error((), f"{name}: left out, and the floor {ground.path} asks for it")
        found = loosened(before, after, (name,), stated=True)
        if found:
            message = f"looser than the floor {ground.path}: {found}"
            raise file.error(in_file(found.where), message)


def _gate_at(file: YamlFile, stage: str, gate: str, where: tuple[str, ...]) -> Where:
    """The place of a gate's setting in this file; the stage, if the gate is inherited."""
    items = file.data.get(stage, [])
    at = [i for i, item in enumerate(items) if item.get("gate") == gate]
    return in_file((stage, at[0], *where)) if len(at) == 1 else (stage,)


def in_file(where: Where) -> Where:
    """A gate's parameters stand beside its name in a file, not below `params`."""
    return tuple(part for part in where if part != "params")
