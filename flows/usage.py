"""The error for what a user asked and cannot have; its message says what would do."""


class UsageError(Exception):
    """Exit code 3."""
