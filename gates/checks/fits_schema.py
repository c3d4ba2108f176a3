"""fits_schema: the batch is whole: enough readable records, and each with what it needs.

Sees: empty or missing fields, roles out of order, blank answers, records longer than the
detectors examine, a batch that is too small, and drops of which too much was unreadable.
Cannot see: fields that are filled with the wrong thing.
"""

from typing import Annotated

from pydantic import Field

from tidegate.gates.gate import RowRule, at_least, at_most, gate
from tidegate.gates.record_limits import QuarantineOnly, within_limits
from tidegate.gates.tighter import HIGHER, LOWER
from tidegate.gates.types import BatchEvidence, Outcome, Verdict


class Schema(QuarantineOnly):
    min_rows: Annotated[int, HIGHER] = Field(
        default=1, ge=1, description="records that must be kept in the end"
    )
    max_unreadable_share: Annotated[float, LOWER] = Field(
        default=0.01, ge=0, le=1, description="rows of the drops that could not be read"
    )


def rows(p: Schema) -> tuple[RowRule, ...]:
    return (
        RowRule("missing_fields", 0, "a required field is missing or empty"),
        RowRule("roles_out_of_order", 0, "nobody asked, or the last message is no answer"),
        RowRule("blank_response", 0, "the answer is blank"),
        RowRule("too_long", 0, "the record is longer than what is examined"),
    )


@gate(rows=rows)
def fits_schema(p: Schema, evidence: BatchEvidence) -> Verdict:
    """The batch has at least min_rows kept records, and none lacks what it needs."""
    kept = evidence["data.kept"]
    unreadable = evidence["data.unreadable_share"]
    enough = at_least(kept.value, p.min_rows, "kept records:")
    if enough.outcome is not Outcome.PASS:
        return enough
    readable = at_most(unreadable.value, p.max_unreadable_share, "share of unreadable rows:")
    if readable.outcome is not Outcome.PASS:
        return readable
    whole = within_limits(p, evidence, "fits_schema", "incomplete records")
    return whole if whole.outcome is not Outcome.PASS else enough
