"""Statements as the in-toto project's own library reads them, before they are signed."""

from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from in_toto_attestation.v1.statement import Statement as InToto
from in_toto_attestation.v1.statement_pb2 import Statement as Message

from tidegate.gates.audit import Statement


class NotAStatement(ValueError):
    """What was to be signed is no in-toto Statement v1."""


def validate(record: Statement) -> None:
    """Raises NotAStatement unless a stock reader sees a valid Statement, and the same one.

    The library keeps a predicate's numbers as doubles: one that does not survive that would
    be read differently by a stranger, so it is refused here.
    """
    message: Any = Message()
    try:
        ParseDict(record, message)
        InToto.copy_from_pb(message).validate()
    except (ParseError, ValueError, TypeError) as no:
        raise NotAStatement(f"no in-toto Statement: {no}") from None
    if MessageToDict(message) != record:
        raise NotAStatement("a stock in-toto reader would see another statement than this")
