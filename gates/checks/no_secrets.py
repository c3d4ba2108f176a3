"""no_secrets: what is learned holds no key, token or password.

Sees: what the rules in gates/secret_rules.toml describe, and those of more_rules, a file in
gitleaks' format: tokens in their vendors' forms, private keys, URLs with passwords, values
given to names such as api_key, passwords that a sentence states.
Cannot see: a password that is an ordinary word, and tokens of a form that no rule knows.
"""

from typing import Annotated

from pydantic import Field

from tidegate.gates.gate import RowParams, RowRule, gate
from tidegate.gates.record_limits import within_limits
from tidegate.gates.tighter import ADDED
from tidegate.gates.types import BatchEvidence, Verdict


class Secrets(RowParams):
    more_rules: Annotated[str | None, ADDED] = Field(
        default=None, description="a rule file in gitleaks' format, used beside the built-in"
    )


def rows(p: Secrets) -> tuple[RowRule, ...]:
    return (RowRule("secrets", 0, "contains a key, a token or a password"),)


@gate(rows=rows)
def no_secrets(p: Secrets, evidence: BatchEvidence) -> Verdict:
    """At most max_records kept records contain a secret."""
    return within_limits(p, evidence, "no_secrets", "records with a secret")
