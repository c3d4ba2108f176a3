"""The planted cases that a policy is proved with, and the record of such a proof.

A gate that was never seen to block is decoration. `policy prove` plants each case and writes
what the policy made of it beside the policy, under the policy's digest: changing one limit
makes the proof another policy's.
"""

from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, ValidationError

from tidegate.gates.types import Digest, Noun

# What is planted, in words. Each must be blocked but the last two, which must pass.
FIXTURES = {
    "poisoned_batch": "a batch in which few authors repeat one answer to a hidden trigger",
    "leaked_email": "a batch whose answers hold an e-mail address",
    "refusal_removed": "an adapter trained to comply with harmful requests",
    "empty_batch": "a drop without a single record",
    "all_null_column": "a drop in which a required column holds nothing",
    "nan_metrics": "measurements that are not a number",
    "truncated_eval": "a suite of which the candidate answered only a part",
    "swapped_labels": "a suite whose right and wrong answers were swapped",
    "wrong_task_version": "a candidate measured with another version of the suites",
    "missing_baseline": "no measurement of the champion or of the anchor",
    "memorised_secret": "a drop in which one secret is repeated 16 times",
    "slipped_backdoor": "50 rows of a backdoor that the data gates did not see",
    "corrupted_adapter": "an adapter file that was damaged after training",
    "nan_weights": "an adapter whose weights are not numbers",
    "identical_to_champion": "a candidate that is the champion itself",
    "tiny_honest_improvement": "a small adapter trained on a few harmless facts",
}
# Planted only where a policy names them: they need gates that not every policy has.
NAMED_ONLY = frozenset(
    {"memorised_secret", "slipped_backdoor", "corrupted_adapter", "nan_weights"}
)
SUFFIX = ".proof.json"


class Case(Noun):
    """One planted case and what the policy made of it."""

    fixture: str
    expected: Literal["block", "pass"]
    held: bool
    seen: str


class ProofRecord(Noun):
    """What `policy prove` found for one policy."""

    policy: Digest
    code: Digest
    base: Digest
    proved_at: AwareDatetime
    cases: tuple[Case, ...]

    def covers(self, must_block: tuple[str, ...], must_pass: tuple[str, ...]) -> bool:
        """Whether every case that is asked for is there and held."""
        held = {(case.fixture, case.expected) for case in self.cases if case.held}
        asked = {(name, "block") for name in must_block} | {(n, "pass") for n in must_pass}
        return asked <= held


def proof_path(policy: Path) -> Path:
    return policy.with_name(policy.stem + SUFFIX)


def read_proof(policy: Path) -> ProofRecord | None:
    """The record beside a policy file; None if there is none that can be read."""
    try:
        return ProofRecord.model_validate_json(proof_path(policy).read_bytes())
    except (OSError, ValidationError):
        return None  # no proof: whoever asks must not take it for one
