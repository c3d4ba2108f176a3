"""What an update was asked with, kept beside it, so that it can be asked again."""

from pathlib import Path

from pydantic import ValidationError

from tidegate.flows import durable
from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.looking_back.history import Lost, entry_of, read_past, read_stored
from tidegate.flows.usage import UsageError
from tidegate.gates.audit import BrokenLedger
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.types import Noun
from tidegate.training.recipe import Recipe

FILE = "asked.json"


class Asked(Noun):
    """Absolute paths of the files, and the trusted batch. None: there was none."""

    policy: str
    probes: str | None = None
    suites: str | None = None
    trusted: str | None = None


def remember(
    work: Path, policy: str, probes: str | None, suites: str | None, trusted: str | None
) -> None:
    said = Asked(
        policy=str(Path(policy).resolve()),
        probes=str(Path(probes).resolve()) if probes else None,
        suites=str(Path(suites).resolve()) if suites else None,
        trusted=trusted,
    )
    durable.replace(work / FILE, said.model_dump_json().encode())


def recall(home: Home, update_id: str) -> Asked | None:
    """None for an update from before this was kept."""
    try:
        return Asked.model_validate_json((home.updates / update_id / FILE).read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        raise UsageError(f"{home.updates / update_id / FILE}: is damaged; restore it") from None


def recorded_rules(
    home: Home, update_id: str, base: str | None = None
) -> tuple[Policy, Recipe]:
    """Policy and recipe of a decided update, each held against its statement.

    base: another base than the recorded one, for a chain that is learned again on it.

    Raises BrokenLedger if one is gone or changed, UsageError if there is no such update.
    """
    for digest, record in reversed(Ledger(home.ledger).read()):
        if record["predicate"]["act"] != "decide":
            continue
        entry = entry_of(digest, record)
        if entry.update_id == update_id:
            past = read_past(home, entry)
            if isinstance(past, Lost):
                raise BrokenLedger(past.why)
            recipe = read_stored(home, entry, "recipe", "recipe")
            how = Recipe.model_validate(recipe, strict=False)
            return past.policy, how.model_copy(update={"base": base}) if base else how
    raise UsageError(f"{update_id}: the ledger decided about no such update")
