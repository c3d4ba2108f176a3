"""Which errors a user can mend (exit 3), and which say that evidence is broken (exit 4)."""

from tidegate.evals.suite import SuiteError
from tidegate.flows.checking.quarantine_keys import BrokenQuarantine
from tidegate.flows.documents.markdown import DocumentError
from tidegate.flows.ingest import IngestError
from tidegate.flows.reconciling.finding import Unreconciled
from tidegate.flows.tracking import RegistryError
from tidegate.flows.usage import UsageError
from tidegate.gates.audit import BrokenLedger
from tidegate.gates.policy.calibration import CalibrationError
from tidegate.gates.signals.names import NoModel
from tidegate.gates.signals.secret_rules import RuleError
from tidegate.gates.yaml_file import YamlError
from tidegate.training.base import BaseError

USAGE_ERRORS = (
    UsageError,
    YamlError,
    IngestError,
    SuiteError,
    BaseError,
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
