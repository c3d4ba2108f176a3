"""What a home holds, in a form in which two homes can be compared.

Left out is what may differ between two undisturbed runs: times, random ids and keys. Run ids
become the name of their run, so that files are compared by which run they belong to.
"""

import base64
import json
import re
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

MODEL = "tiny"
# What a second run pays differently: it measures nothing again.
COSTS = {"seconds_measured", "tokens_measured", "suites_from_cache"}
VOLATILE = {"run_id", "adapter_key"}
SEARCHED = "files_searched"  # by the verification of an erasure: drafts of the dead among them
# What is made once and then only read: if it was there when the process was killed, it is not
# made again.
FINISHED = (
    "batches/*/*",
    "updates/u-*/train/trained.json",
    "updates/u-*/train/adapter/*",
    "cache/**/*",
    "replay/*.parquet",
    "learned/*.parquet",
)
ANSWERS = ("gov.approvals", "gov.refusals", "gov.waivers")  # digests of files with times
RUN = re.compile(r"\b[0-9a-f]{32}\b")
ANSWER = re.compile(
    r"(?<=approvals/)([0-9a-f]{64}/)?[0-9a-f]{64}-"
)  # digests of files with times
NEW_EACH_TIME = re.compile(
    r"^(prefect/|cache/matplotlib|.*/data_docs/validations/|mlflow\.db-|.*/__pycache__/"
    # A second run fetches the adapter again where the first one had it at hand; a draft counts.
    r"|cache/adapters/[0-9a-f]{64}/)"
)


def state_of(root: Path, uri: str | None = None) -> dict[str, Any]:
    """Everything that counts about a home; raises if ledger or registry are not whole."""
    from tidegate.flows.checking import quarantine
    from tidegate.flows.home import Home
    from tidegate.flows.reconciling.compare import compare
    from tidegate.flows.registry import Registry
    from tidegate.flows.signing.pipeline import PipelineKeys
    from tidegate.flows.verifying import verify

    home = Home(root)
    registry = Registry.open(home, uri)
    verified = verify(home.ledger, PipelineKeys(home.keys).trusted(), [])
    statements = {digest: str(n) for n, (digest, _) in enumerate(_read(home))}
    runs = _runs(registry)
    return {
        "ledger": [_said(record) for _, record in _read(home)],
        "ledger verifies": [f.found for f in verified.findings],
        "reconciled": [f.what for f in compare(home, MODEL, uri).findings],
        "aliases": registry.aliases(MODEL),
        "versions": [
            {
                "version": v.version,
                "run": runs[v.run_id],
                "tags": {
                    k: len(t.split()) if k in ANSWERS else statements.get(t, t)
                    for k, t in sorted(v.tags.items())
                },
                "page": v.description.partition("\n")[0],
            }
            for v in registry.versions(MODEL)
        ],
        "runs": _contents(registry, runs),
        "files": dict(sorted(_files(root, runs).items())),
        "rows": {
            str(path.relative_to(root)): _rows(path)
            for folder in ("replay", "learned", "lineage")
            for path in sorted((root / folder).rglob("*.parquet"))
        },
        "quarantined": {
            batch: sum(rows.num_rows for rows in quarantine.read(home, batch))
            for batch in quarantine.batches(home)
        },
        "results": {
            path.parent.name: _decision(path) for path in root.glob("updates/u-*/result.json")
        },
    }


def finished_files(root: Path) -> dict[str, tuple[int, int]]:
    """What was made once, with inode and time of change: a file made again has others."""
    return {
        str(path.relative_to(root)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for pattern in FINISHED
        for path in root.glob(pattern)
        if path.is_file() and not path.name.startswith(".")
    }


def serves_undecided(root: Path) -> str | None:
    """A champion that no statement made one: what must not be true at any moment.

    Reads the files as they lie there after a kill, and nothing of the product: the ledger's
    lines and MLflow's table of aliases.
    """
    try:
        database = sqlite3.connect(f"{(root / 'mlflow.db').as_uri()}?mode=rw", uri=True)
        with database:
            found = database.execute(
                "SELECT version FROM registered_model_aliases WHERE alias = 'champion'"
            ).fetchone()
        database.close()
    except sqlite3.OperationalError:
        return None  # killed before there was such a table
    ledger = root / "ledger.jsonl"
    lines = ledger.read_text().splitlines() if ledger.exists() else []
    said = [json.loads(base64.b64decode(json.loads(line)["payload"])) for line in lines]
    acts = [one["predicate"] for one in said]
    may = {
        str(act["about"].get("version", "1"))
        for act in acts
        if act["act"] in ("bless", "rollback", "repair")
        or act["about"].get("action") == "promote"
    }
    return None if found is None or str(found[0]) in may else str(found[0])


def differences(wanted: Any, found: Any, where: str = "") -> list[str]:
    """Each place at which two states differ."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return [
            one
            for key in sorted(wanted.keys() | found.keys())
            for one in differences(
                wanted.get(key, "nothing"), found.get(key, "nothing"), f"{where}/{key}"
            )
        ]
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        return [
            one
            for n, (a, b) in enumerate(zip(wanted, found, strict=True))
            for one in differences(a, b, f"{where}/{n}")
        ]
    if wanted == found:
        return []
    return [f"{where}: {_short(found)}, undisturbed it is {_short(wanted)}"]


def _short(value: Any) -> str:
    return json.dumps(value)[:160]


def _read(home: Any) -> list[tuple[str, Any]]:
    from tidegate.flows.ledger import Ledger

    return Ledger(home.ledger).read()


def _said(record: Any) -> dict[str, Any]:
    predicate = record["predicate"]
    about = {k: v for k, v in predicate["about"].items() if k not in VOLATILE}
    if predicate["act"] in ("rollback", "repair", "approve", "refuse"):
        about.pop("decision_id", None)  # names a statement, which has a time
    return {
        "act": predicate["act"],
        "model": predicate["model"],
        "about": _plain(about),
        "subjects": sorted(
            f"{s['name']} {s['digest']['sha256']}"
            for s in record["subject"]
            if s["name"] not in ("plan", "answer") and not s["name"].startswith("approve/")
        ),
    }


def _plain(value: Any) -> Any:
    """Without digests of statements and answers, which hold times."""
    if isinstance(value, dict):
        gone = ("statement", "digest", "issued", "expires", "keyid", SEARCHED)
        return {k: _plain(v) for k, v in value.items() if k not in gone}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _runs(registry: Any) -> dict[str, str]:
    """The name of each run: its update, and its stage if it is one of a stage."""
    client = registry.client
    experiment = client.get_experiment_by_name(MODEL)
    found = client.search_runs([experiment.experiment_id], max_results=5000)
    tags = {run.info.run_id: run.data.tags for run in found}
    names: dict[str, str] = {}
    for run_id, own in sorted(tags.items()):
        parent = tags.get(own.get("mlflow.parentRunId", ""), own)
        name = "/".join([parent["gov.update_id"], *filter(None, [own.get("gov.stage")])])
        twice = sum(known.split("#")[0] == name for known in names.values())
        names[run_id] = f"{name}#{twice + 1}" if twice else name
    return names


def _contents(registry: Any, runs: dict[str, str]) -> dict[str, Any]:
    found = {}
    for run_id, name in runs.items():
        run = registry.client.get_run(run_id)
        points = {
            key: 1 if key in COSTS else len(registry.client.get_metric_history(run_id, key))
            for key in run.data.metrics
        }
        found[name] = {
            "status": run.info.status,
            "params": dict(run.data.params),
            "points": points,
            "tags": sorted(run.data.tags),
            "inputs": sorted(one.dataset.name for one in run.inputs.dataset_inputs),
        }
    return found


def _files(root: Path, runs: dict[str, str]) -> Counter[str]:
    named = Counter[str]()
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        if path.is_file() and not NEW_EACH_TIME.match(name):
            name = RUN.sub(lambda m: runs.get(m.group(), m.group()), name)
            named[ANSWER.sub("ANSWER-", name)] += 1
    return named


def _rows(path: Path) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)


def _decision(path: Path) -> Any:
    said = json.loads(path.read_bytes())
    return {key: said[key] for key in ("decision", "document", "version")}
