"""The bill of materials: CycloneDX 1.6, `bom.cdx.json`, held against the official schema.

The library writes everything that it has nouns for. It has none for `modelCard` and for the
`data` of a data component (cyclonedx-python-lib 11.12), so those two are put into its JSON,
before the schema that it ships judges the whole. Serial number and time come from the statement:
the same statement is the same file. It names no person.
"""

import json
import uuid
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from cyclonedx.factory.license import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType, Pedigree
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from packageurl import PackageURL

from tidegate.flows.documents.account import Account, Metric
from tidegate.flows.documents.markdown import DocumentError
from tidegate.flows.reviewing.wording import clean

if TYPE_CHECKING:
    from cyclonedx.validation.json import JsonStrictValidator

MODEL, BASE, BATCH, ENVIRONMENT = "model", "base", "batch", "environment"
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://tidegate.example/statement")
LIMITS = (
    "A suite says nothing about what it does not ask, a gate nothing about what it cannot see.",
    "It was compared with the version before it and the first release, and with no other model.",
)


def bill_of_materials(account: Account) -> str:
    """The document as JSON that ends with a newline. Raises DocumentError if the schema refuses it."""
    model, base, batch = _model(account), _base(account), _batch(account)
    environment, packages = _environment(account)
    bom = Bom(
        serial_number=uuid.uuid5(NAMESPACE, account.entry.statement),
        metadata=BomMetaData(
            component=model,
            timestamp=account.entry.decided_at,
            tools=ToolRepository(
                components=[
                    Component(
                        name="tidegate", type=ComponentType.APPLICATION, bom_ref="tool/tidegate"
                    )
                ]
            ),
        ),
        components=[base, batch, environment, *packages],
    )
    bom.register_dependency(model, [base, batch, environment])
    bom.register_dependency(environment, packages)
    made = json.loads(JsonV1Dot6(bom).output_as_string())
    made["metadata"]["component"]["modelCard"] = _model_card(account)
    for component in made["components"]:
        if component["bom-ref"] == BATCH:
            component["data"] = [_data(account)]
    if account.environment is None:
        made["compositions"] = [{"aggregate": "unknown", "dependencies": [ENVIRONMENT]}]
    text = json.dumps(made, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    wrong = _schema().validate_str(text)
    if wrong is not None:
        raise DocumentError(f"the CycloneDX 1.6 schema refuses the bill of materials: {wrong}")
    return text


@cache
def _schema() -> "JsonStrictValidator":
    # Imported when a document is written: it builds the grammars of every format of JSON schema,
    # which takes seconds.
    from cyclonedx.validation.json import JsonStrictValidator

    return JsonStrictValidator(SchemaVersion.V1_6)


def _model(account: Account) -> Component:
    said = {
        "statement": account.entry.statement,
        "ledger:line": str(account.index),
        "decision": str(account.action),
        "policy": f"{account.past.policy.policy} v{account.past.policy.version}",
        "waivers": str(len(account.waivers)),
        **{f"digest:{name}": digest for name, digest in account.subjects.items()},
        **{f"gate:{r.gate}": f"{r.outcome}, {r.action}" for r in account.rulings},
    }
    before = {"parent": account.parent, "teacher": account.teacher}
    versions = [
        Component(
            name=clean(account.model),
            version=clean(version),
            type=ComponentType.MACHINE_LEARNING_MODEL,
            bom_ref=f"ancestor/{name}",
        )
        for name, version in before.items()
        if version is not None
    ]
    return Component(
        name=clean(account.model),
        version=clean(account.version),
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=MODEL,
        description=f"A {account.kind} on the base, continued from the version before it",
        components=[*_files(account)],
        pedigree=Pedigree(ancestors=[_base(account, "ancestor/base"), *versions]),
        properties=_properties(said),
    )


def _files(account: Account) -> Iterator[Component]:
    """The adapter's files with the SHA-256 that anybody can compute."""
    for name, digest in account.subjects.items():
        folder, _, file = name.partition("/")
        if folder == "adapter" and file:
            content = digest.removeprefix("sha256:")
            yield Component(
                name=clean(file),
                type=ComponentType.FILE,
                bom_ref=clean(name),
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=content)],
            )


def _base(account: Account, ref: str = BASE) -> Component:
    """Versioned by the digest that pins it, which is over all its files and not one's hash."""
    base = account.base
    known = base.license not in ("", "unknown")
    return Component(
        name=clean(base.name),
        version=base.digest,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=ref,
        licenses=[LicenseFactory().make_from_string(clean(base.license))] if known else [],
    )


def _batch(account: Account) -> Component:
    return Component(
        name=BATCH,
        version=account.past.batch.digest,
        type=ComponentType.DATA,
        bom_ref=BATCH,
        description="Exchanges of the deployed model; named by digest, and not part of this",
    )


def _environment(account: Account) -> tuple[Component, list[Component]]:
    """What it was made and measured with: the interpreter, and every installed package."""
    found = account.environment
    component = Component(
        name="python",
        version=found.python if found else None,
        type=ComponentType.PLATFORM,
        bom_ref=ENVIRONMENT,
        properties=_properties({"digest": account.subjects.get("environment", "unknown")}),
    )
    packages = {}
    for package in found.packages if found else ():
        name, _, version = package.partition("==")
        purl = PackageURL("pypi", name=name, version=version)
        packages[str(purl)] = Component(
            name=name, version=version, purl=purl, bom_ref=str(purl), type=ComponentType.LIBRARY
        )
    return component, [*packages.values()]


def _model_card(account: Account) -> dict[str, Any]:
    return {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": "text-generation",
            "datasets": [{"ref": BATCH}],
            "inputs": [{"format": "text"}],
            "outputs": [{"format": "text"}],
        },
        "quantitativeAnalysis": {
            "performanceMetrics": [
                said for metric in account.metrics for said in _measured(metric)
            ]
        },
        "considerations": {"technicalLimitations": [*LIMITS]},
    }


def _measured(metric: Metric) -> Iterator[dict[str, Any]]:
    """The mean on each model, then the changes with their bounds. Numbers are strings here."""
    for role, found in metric.values.items():
        yield {"type": clean(metric.name), "slice": role, "value": _decimal(found.value)}
    for than, c in metric.changes.items():
        bounds = {"lowerBound": c.low, "upperBound": c.high}
        yield {
            "type": f"{clean(metric.name)}, change from the {than}",
            "value": _decimal(c.mean),
            "confidenceInterval": {k: _decimal(v) for k, v in bounds.items() if v is not None},
        }


def _data(account: Account) -> dict[str, Any]:
    batch = account.past.batch
    counts = {
        "rows": batch.rows,
        "read": batch.read,
        "unreadable": batch.unreadable,
        "without_consent": batch.without_consent,
        "duplicates": batch.duplicates,
        "quarantined": account.about.get("quarantined", "unknown"),
        "replayed": account.replayed,
    }
    said = [{"name": f"tidegate:{name}", "value": str(n)} for name, n in counts.items()]
    return {"type": "dataset", "name": batch.digest, "contents": {"properties": said}}


def _properties(said: dict[str, str]) -> list[Property]:
    return [
        Property(name=f"tidegate:{clean(name)}", value=clean(value))
        for name, value in said.items()
    ]


def _decimal(value: float) -> str:
    return f"{value:.6g}"
