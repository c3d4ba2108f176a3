"""Which errors a user can mend (exit 3), and which say that evidence is broken (exit 4)."""

from tidegate.evals.suite import SuiteError
from tidegate.flows.checking.quarantine_keys import BrokenQuarantine
from tidegate.flows.connection import RegistryError
from tidegate.flows.documents.markdown import DocumentError
from tidegate.flows.ingest import IngestError
from tidegate.flows.reconciling.finding import Unreconciled
from tidegate.flows.usage import UsageError
from tidegate.gates.audit import BrokenLedger
from tidegate.gates.policy.calibration import CalibrationError
from tidegate.gates.signals.names import NoModel
from tidegate.gates.signals.secret_rules import RuleError
from tidegate.gates.yaml_file import YamlError
from tidegate.training.base import BaseError
from tidegate.training.trained import RankError

USAGE_ERRORS = (
    UsageError,
    YamlError,
    IngestError,
    SuiteError,
    BaseError,
    RankError,
    RegistryError,
    RuleError,
    NoModel,
    OSError,  # no space, no permission, no such file: the message names the path
)
BROKEN_ERRORS = (
    BrokenLedger,
    BrokenQuarantine,
    CalibrationError,
    DocumentError,
    Unreconciled,
)


def no_memory(error: Exception) -> str | None:
    """What to say if memory ran out. torch has no class for that on a CPU, only these words."""
    said = str(error)
    words = ("out of memory", "allocate memory", "can't start new thread")
    if isinstance(error, MemoryError) or any(one in said for one in words):
        return (
            "memory ran out; nothing was decided. Give the process more, or take a recipe with "
            "fewer rows_per_step or max_tokens, and run the same command again"
        )
    return None


def no_room(error: Exception) -> str | None:
    """What to say if weights could not be written. safetensors has only the kernel's words."""
    said = str(error)
    words = ("No space left on device", "File too large", "Disk quota exceeded")
    if any(one in said for one in words) and not isinstance(error, OSError):
        return (
            "there is no space left on the disk; nothing was decided. Free some, and run the same "
            "command again"
        )
    return None


def no_engine(error: Exception) -> str | None:
    """What to say if Prefect's server went away: only its client speaks through httpx here."""
    import httpx

    if isinstance(error, httpx.HTTPError):
        return (
            f"Prefect's server does not answer any more ({type(error).__name__}); start it, and run "
            "the same command again: finished stages are kept"
        )
    return None
