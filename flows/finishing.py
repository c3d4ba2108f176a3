"""The last step of an update: its result, announced before `champion` moves and final after it.

    announced.json   what the update came to, before any alias says so
    result.json      the same, once all is done

Once the champion has moved, the same command asks another question: another champion, another
id. An update that was killed there is found by what it announced, and finished, not trained
a second time.
"""

from pathlib import Path

from pydantic import ValidationError

from tidegate.flows import durable
from tidegate.flows.home import Home
from tidegate.flows.one_update import UpdateResult
from tidegate.flows.registry import Registry
from tidegate.flows.usage import UsageError

RESULT, ANNOUNCED = "result.json", "announced.json"


def announce(work: Path, result: UpdateResult) -> None:
    durable.replace(work / ANNOUNCED, result.model_dump_json().encode())


def finish(registry: Registry, work: Path, result: UpdateResult) -> UpdateResult:
    """Close the update's run and write its result. Safe to repeat."""
    registry.runs.finish(result.run_id)
    durable.replace(work / RESULT, result.model_dump_json().encode())
    (work / ANNOUNCED).unlink(missing_ok=True)
    return result


def result_of(home: Home, update_id: str) -> UpdateResult | None:
    """What a finished update came to; None if it never ended."""
    return _read(home.updates / update_id / RESULT)


def result_of_learned(registry: Registry, home: Home, update_id: str) -> UpdateResult:
    """The same of an update by which the champion learned; finished now, if it was killed.

    Raises UsageError if nothing is left that says what it came to.
    """
    work = home.updates / update_id
    found = result_of(home, update_id)
    if found is not None:
        return found
    announced = _read(work / ANNOUNCED)
    if announced is None:
        raise UsageError(
            f"{work / RESULT}: is gone, and by this update the champion learned the batch already; "
            "it is not learned twice. Restore the folder, or see `tidegate show`"
        )
    return finish(registry, work, announced)


def _read(path: Path) -> UpdateResult | None:
    try:
        return UpdateResult.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        raise UsageError(f"{path}: is damaged; restore it from a backup") from None
