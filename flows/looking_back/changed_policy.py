"""A policy with some settings changed, to ask what it would have decided.

    model.not_worse(refusal.margin).than.champion=0.05
    model.learned.at_least=0.1            # the gate's name is enough where it is used once
    data.fits_schema.min_rows=500
    statistics.false_pass_rate=0.01

The value is YAML. The changed policy is resolved and refused as any policy is: a child still
may only tighten, and a floor still holds.
"""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel

from tidegate.flows.rules import floor_path, read_policy
from tidegate.flows.usage import UsageError
from tidegate.gates.policy.load import SECTIONS, STAGES, load_policy
from tidegate.gates.policy.nouns import GateUse, Policy
from tidegate.gates.yaml_file import YamlError, YamlFile, did_you_mean

GATE = re.compile(r"([^.()]+(?:\([^()]*\))?)\.(.+)")
OF_THE_USE = ("on_fail", "why", "locked")
# What the gates are asked with. The other sections rule on recipe, cost and people.
ASKED_WITH = ("statistics", "baselines")


def changed_policy(path: Path, changes: Sequence[str], *, floor: Path | None = None) -> Policy:
    """The policy of a file with each `path=value` set in it, held against its floor.

    Raises YamlError for a file that is no policy as it stands, and UsageError for a path
    that does not exist or a value that makes it no policy.
    """
    policy = read_policy(path, floor)
    if not changes:
        return policy
    data = YamlFile(path).data
    for change in changes:
        where, equals, text = change.partition("=")
        if not equals:
            raise UsageError(f"--set {change}: write PATH=VALUE, as statistics.power=0.9")
        _put(data, policy, where.strip(), _value(change, text))
    _find_from_anywhere(data, path.parent.resolve())
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / path.name
        draft.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
        ground = floor_path(floor)
        try:  # a floor does not stand on itself, and neither does its draft
            same = ground.resolve() == path.resolve()
            return load_policy(draft, floor=None if same else ground)
        except YamlError as no:
            # The draft's lines are nobody's; the changes are what the user can mend.
            said = re.sub(rf"^{re.escape(str(draft))}(:\d+)?: ", "", str(no))
            raise UsageError(f"{path} with {', '.join(changes)}: {said}") from None


def _value(change: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise UsageError(f"--set {change}: the value {text!r} is not YAML") from None


def _put(data: dict[str, Any], policy: Policy, where: str, value: Any) -> None:
    head, _, rest = where.partition(".")
    if head in STAGES:
        found = GATE.fullmatch(rest)
        if found is None:
            raise UsageError(
                f"--set {where}: write {head}.GATE.SETTING, as data.fits_schema.min_rows"
            )
        use = _use(getattr(policy, head), found[1], where)
        keys = found[2].split(".")
        if keys[0] not in OF_THE_USE or len(keys) > 1:
            _refuse_unknown(type(use.params), keys, where, more=OF_THE_USE)
        if keys[0] in use.params.identity:
            raise UsageError(f"--set {where}: {keys[0]} says which gate this is; it stays")
        _set(_item(data, head, use), keys, value)
    elif head in ASKED_WITH and rest:
        keys = rest.split(".")
        _refuse_unknown(SECTIONS[head], keys, where)
        _set(data, [head, *keys], value)
    elif head in SECTIONS:
        raise UsageError(
            f"--set {where}: only what the gates are asked with can be tried on past updates: "
            f"{', '.join((*STAGES, *ASKED_WITH))}, each followed by a setting"
        )
    else:
        hint = did_you_mean(head, [*STAGES, *ASKED_WITH])
        raise UsageError(f"--set {where}: a policy has no {head!r}{hint}")


def _use(uses: Sequence[GateUse], title: str, where: str) -> GateUse:
    found = [use for use in uses if use.title == title] or [
        use for use in uses if use.gate == title
    ]
    if not found:
        hint = did_you_mean(title, [use.title for use in uses])
        raise UsageError(f"--set {where}: the policy has no gate {title!r} there{hint}")
    if len(found) > 1:
        titles = ", ".join(use.title for use in found)
        raise UsageError(f"--set {where}: {title} is used more than once; say which: {titles}")
    return found[0]


def _item(data: dict[str, Any], stage: str, use: GateUse) -> dict[str, Any]:
    """The gate's place in the file; a new one if it is all inherited."""
    items: list[dict[str, Any]] = data.setdefault(stage, [])
    for item in items:
        if item["gate"] == use.gate and use.params.title(use.gate, item) == use.title:
            return item
    named = {name: getattr(use.params, name) for name in use.params.identity}
    items.append({"gate": use.gate, **named})
    return items[-1]


def _set(into: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    for key in keys[:-1]:
        if not isinstance(into.get(key), dict):
            into[key] = {}
        into = into[key]
    into[keys[-1]] = value


def _refuse_unknown(
    model: type[BaseModel], keys: Sequence[str], where: str, more: Sequence[str] = ()
) -> None:
    fields = {f.alias or name: f for name, f in model.model_fields.items() if not f.exclude}
    key = keys[0]
    if key not in fields:
        hint = did_you_mean(key, [*fields, *more])
        raise UsageError(f"--set {where}: there is no setting {key!r}{hint}")
    if len(keys) == 1:
        return
    kinds = (fields[key].annotation, *get_args(fields[key].annotation))
    inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
    if not inner:
        raise UsageError(f"--set {where}: {key} is one value, with nothing below it")
    _refuse_unknown(inner[0], keys[1:], where)


def _find_from_anywhere(data: dict[str, Any], folder: Path) -> None:
    """Paths in a policy count from its own folder, and the draft stands elsewhere."""
    if isinstance(data.get("extends"), str):
        data["extends"] = str(folder / data["extends"])
    approval = data.get("approval")
    if isinstance(approval, dict) and isinstance(approval.get("reviewers"), str):
        approval["reviewers"] = str(folder / approval["reviewers"])
