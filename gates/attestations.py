"""What a decision says in the words of others: predicates that stock in-toto tools know.

 * SLSA Provenance v1 (https://slsa.dev/spec/v1.0/provenance): from what the adapter was made;
 * Test Result v0.1 (https://in-toto.io/attestation/test-result/v0.1): what the gates ruled;
 * Simple Verification Result v0.1 (https://in-toto.io/attestation/svr/v0.1): which gates of
   which policy passed. The decision itself has no vetted predicate, so it has ours.

Each is derived from the decision's statement in the ledger and adds nothing to it. Derived
twice, they are the same byte for byte, so they need no place in the ledger of their own.
"""

from collections.abc import Iterator
from typing import Any

from tidegate.gates.audit import STATEMENT_TYPE, Statement, by_algorithm, subject
from tidegate.gates.digest import digest_json
from tidegate.gates.types import Action, Outcome

PROVENANCE = "https://slsa.dev/provenance/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
VERIFICATION = "https://in-toto.io/attestation/svr/v0.1"
OURS = "https://tidegate.example"
RESULTS = {Action.PROMOTE: "PASSED", Action.HOLD: "WARNED", Action.REJECT: "FAILED"}


def attestations(record: Statement) -> dict[str, Statement]:
    """The statements that follow from a decision's, by a short name; none for other acts."""
    if record["predicate"]["act"] != "decide":
        return {}
    out = {"verification": _verification(record)}
    if subject(record, "adapter") and "training" in record["predicate"]["about"]:
        out["provenance"] = _provenance(record)
    if subject(record, "evidence/model"):
        out["test-result"] = _test_result(record)
    return out


def _provenance(record: Statement) -> Statement:
    about = record["predicate"]["about"]
    # What went in; `adapter` came out, policy and evidence came later.
    inputs = [*_descriptors(record, "base", "batch", "recipe", "code", "environment")]
    for digest in sorted(about.get("replay", {}).get("by_batch", {})):
        inputs.append({"name": "replay", "digest": by_algorithm(digest)})
    return _statement(
        record,
        PROVENANCE,
        {
            "buildDefinition": {
                "buildType": f"{OURS}/build/adapter/v0.1",
                "externalParameters": {
                    "model": record["predicate"]["model"],
                    "parent": about["parent"],
                    "recipe": subject(record, "recipe"),
                    "seed": about["seed"],
                    "requester": about.get("requester", ""),
                },
                "internalParameters": {"revision": about["revision"]},
                "resolvedDependencies": inputs,
            },
            "runDetails": {
                "builder": {"id": f"{OURS}/pipeline/v0.1"},
                "metadata": {"invocationId": about["run_id"]},
                "byproducts": [
                    {"name": "statement", "digest": by_algorithm(digest_json(record))}
                ],
            },
        },
    )


def _test_result(record: Statement) -> Statement:
    about = record["predicate"]["about"]
    passed, warned, failed = [], [], []
    for ruling in about["rulings"]:
        if ruling["outcome"] == Outcome.PASS:
            passed.append(ruling["gate"])
        elif ruling.get("waived") or ruling.get("approved") or ruling["action"] == Action.HOLD:
            warned.append(ruling["gate"])
        else:
            failed.append(ruling["gate"])
    return _statement(
        record,
        TEST_RESULT,
        {
            "result": RESULTS[Action(about["action"])],
            "configuration": [
                *_descriptors(record, "policy", "evidence/data", "evidence/model")
            ],
            "passedTests": passed,
            "warnedTests": warned,
            "failedTests": failed,
        },
    )


def _verification(record: Statement) -> Statement:
    about = record["predicate"]["about"]
    # This predicate lists only what was verified: a gate that did not pass is not in it.
    properties = [
        f"TIDEGATE_PASS_{r['gate']}" for r in about["rulings"] if r["outcome"] == Outcome.PASS
    ]
    if about["action"] == Action.PROMOTE:
        properties.insert(0, "TIDEGATE_PROMOTE")
    policy = next(_descriptors(record, "policy"))
    return _statement(
        record,
        VERIFICATION,
        {
            "verifier": {
                "id": f"{OURS}/verifier/v0.1",
                "policy": {**policy, "name": about["policy"]["name"]},
            },
            "timeCreated": record["predicate"]["decidedAt"],
            "properties": properties,
        },
    )


def _statement(record: Statement, kind: str, predicate: dict[str, Any]) -> Statement:
    """About the adapter and its files; about the batch if it never became one."""
    mine = [s for s in record["subject"] if s["name"].partition("/")[0] == "adapter"]
    mine = mine or [s for s in record["subject"] if s["name"] == "batch"]
    return {
        "_type": STATEMENT_TYPE,
        "subject": mine,
        "predicateType": kind,
        "predicate": predicate,
    }


def _descriptors(record: Statement, *names: str) -> Iterator[dict[str, Any]]:
    for said in record["subject"]:
        if said["name"] in names:
            yield {"name": said["name"], "digest": said["digest"]}
