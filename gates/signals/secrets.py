"""Secrets: keys, tokens and passwords by the rules of secret_rules.toml.

Sees: what the rules describe: tokens in their vendors' form, key blocks, URLs with
passwords, values given to names such as api_key, and passwords that a sentence states.
Cannot see: a password that is an ordinary word, or a token of a form that no rule knows.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.gates.signals.secret_rules import SecretRules

COLUMN = "secrets"


def measure(text: pa.Array, rules: SecretRules) -> dict[str, np.ndarray]:
    """For each record, how many secrets its text holds."""
    counts = np.zeros(len(text), dtype=np.float32)
    suspects = np.ones(len(text), dtype=bool)
    if rules.suspect is not None:
        matches = pc.match_substring_regex(text, rules.suspect, ignore_case=True)
        suspects = matches.to_numpy(zero_copy_only=False)
    for i in np.flatnonzero(suspects):
        counts[i] = len(rules.find(text[i].as_py()))
    return {COLUMN: counts}
