"""Which updates a consolidation takes the place of, and where it continues from."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.flows.reconciling.serving import ledger_says, require_recorded
from tidegate.flows.registry import ModelVersionInfo
from tidegate.flows.tracing.steps import Step, Steps, chain, read_steps
from tidegate.flows.usage import UsageError

if TYPE_CHECKING:  # it loads torch, which nobody needs who only asks for a plan
    from tidegate.flows.line import Line

FEWEST = 2  # updates; one alone is merged already


@dataclass(frozen=True)
class Merged:
    """The updates, oldest first, and the version before them: the student continues from it.

    The teacher is the champion, which the candidate is also compared with.
    """

    steps: tuple[Step, ...]
    ancestor: ModelVersionInfo

    @property
    def versions(self) -> tuple[str, ...]:
        return tuple(step.version for step in self.steps)


def last_steps(steps: Steps, model: str, champion: str, last: int | None) -> tuple[Step, ...]:
    """The champion's last updates, all if `last` is None, oldest first.

    Raises UsageError if there are fewer than two, or fewer than `last`.
    """
    way = chain(steps, model, champion)
    if last is not None and last < FEWEST:
        raise UsageError(f"--last {last}: two updates at least are merged into one")
    if len(way) < (last or FEWEST):
        raise UsageError(
            f"the champion of {model!r} stands on {len(way)} updates, and {last or FEWEST} are to "
            "be merged; learn more first, or merge fewer"
        )
    return way[-last:] if last else way


def merged(line: "Line", last: int) -> Merged:
    """The last updates of a line, with the version before them fetched and checked.

    Raises UsageError as last_steps does, RegistryError if the version before them cannot be had
    (its weights were erased, for one), and Unreconciled if it is not what the ledger says.
    """
    steps = last_steps(read_steps(line.home), line.name, line.champion.version, last)
    ancestor = line.registry.load(line.name, steps[0].parent)
    require_recorded(ledger_says(line.home, line.name), ancestor)
    return Merged(steps, ancestor)
