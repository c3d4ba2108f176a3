"""What is wrong with this installation, and what to do about it."""

import stat
import sys
from importlib import metadata
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.registry import Registry, RegistryError
from tidegate.flows.signing.keys import KeyFileError
from tidegate.gates.audit import BrokenLedger
from tidegate.gates.policy.load import PolicyError, load_policy
from tidegate.gates.types import Noun
from tidegate.training.base import EMBEDDED, BaseError, find_base

LOCKED = {
    "torch": "2.13.0",
    "transformers": "5.23.0",
    "peft": "0.21.2",
    "mlflow": "3.17.2",
    "great-expectations": "1.24.1",
    "prefect": "3.8.8",
    "lm-eval": "0.4.13",
    "daft": "0.7.26",
}
POLICY = Path(__file__).parents[1] / "policies" / "default.yaml"


class Finding(Noun):
    what: str
    good: bool
    found: str
    do: str = ""


def examine(home: Home, tracking_uri: str | None) -> list[Finding]:
    """Every check, good or bad, in the order in which they matter."""
    return [
        _python(),
        *(_package(name, wanted) for name, wanted in LOCKED.items()),
        _fastapi(),
        _base(home),
        _policy(),
        _registry(home, tracking_uri),
        _ledger(home),
        *_keys(home),
        _engine(),
    ]


def print_findings(console: Console, findings: list[Finding]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    for finding in findings:
        mark = "[green]ok[/]" if finding.good else "[red]no[/]"
        table.add_row(mark, escape(finding.what), escape(finding.found), escape(finding.do))
    console.print(table)
    bad = sum(not finding.good for finding in findings)
    console.print("All is well." if not bad else f"{bad} to mend; what to do stands beside it.")


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    return Finding(
        what="python", good=good, found=found, do="" if good else "use 3.11 or newer"
    )


def _package(name: str, wanted: str) -> Finding:
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding(what=name, good=False, found="not installed", do="make setup")
    good = found.split("+")[0] == wanted
    do = "" if good else f"the lock has {wanted}: make setup"
    return Finding(what=name, good=good, found=found, do=do)


def _fastapi() -> Finding:
    found = metadata.version("fastapi")
    major, minor = (int(part) for part in found.split(".")[:2])
    good = (major, minor) < (0, 151)
    do = "" if good else "prefect's server does not start with it: make setup"
    return Finding(what="fastapi", good=good, found=found, do=do)


def _base(home: Home) -> Finding:
    name = next(iter(EMBEDDED))
    try:
        base = find_base(name, home.cache)
    except (BaseError, OSError) as error:
        return Finding(what="embedded model", good=False, found=str(error), do="make setup")
    return Finding(what="embedded model", good=True, found=f"{name} {base.digest[:19]}…")


def _policy() -> Finding:
    try:
        policy = load_policy(POLICY)
    except PolicyError as error:
        return Finding(what="default policy", good=False, found=str(error), do="mend the file")
    return Finding(what="default policy", good=True, found=f"version {policy.version}")


def _registry(home: Home, tracking_uri: str | None) -> Finding:
    if tracking_uri is None and not home.mlflow_database.exists():
        return Finding(what="registry", good=True, found="none yet; the first update makes it")
    try:
        Registry.open(home, tracking_uri)
    except RegistryError as error:
        return Finding(what="registry", good=False, found=str(error), do="see the message")
    return Finding(what="registry", good=True, found="answers")


def _ledger(home: Home) -> Finding:
    try:
        entries = Ledger(home.ledger).entries()
    except (BrokenLedger, KeyFileError) as error:
        do = "promote nothing; compare with a copy kept elsewhere"
        return Finding(what="ledger", good=False, found=str(error), do=do)
    unsigned = sum(entry.keyid is None for entry in entries)
    note = f", the first {unsigned} of them unsigned" if unsigned else ""
    found = f"{len(entries)} statements, signatures and chain unbroken{note}"
    return Finding(what="ledger", good=True, found=found)


def _keys(home: Home) -> list[Finding]:
    if not home.keys.is_dir():
        return [Finding(what="keys", good=True, found="none yet; the first ingest makes them")]
    findings = []
    for key in sorted(home.keys.iterdir()):
        if key.suffix == ".pub" or key.name.startswith("."):
            continue  # for everybody to read, or no key
        private = not key.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
        findings.append(
            Finding(
                what=f"key {key.name}",
                good=private,
                found="private" if private else "others can read it",
                do="" if private else f"chmod 600 {key}",
            )
        )
    return findings


def _engine() -> Finding:
    import torch

    where = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU, float32"
    return Finding(
        what="engine", good=True, found=f"{where}, {torch.get_num_threads()} threads"
    )
