"""All that was measured in one run of the benchmark, or in several that were joined."""

from typing import Any

from pydantic import Field

from tidegate.flows.sequencing.result import ArmResult
from tidegate.gates.types import Digest, Noun


class Run(Noun):
    """One of the runs that were joined: its file, and what measured it."""

    file: str
    digest: Digest
    seeds: dict[str, tuple[int, ...]] = Field(description="by arm")
    code: Digest
    revision: str
    environment: Digest


class Benchmark(Noun):
    """All that was measured, and the digests of what it was measured with.

    code, revision and environment are none where joined runs do not share them.
    """

    base: str
    base_digest: Digest
    data: str
    settings: dict[str, Any]
    recipes: dict[str, dict[str, Any]]
    code: Digest | None
    revision: str | None
    environment: Digest | None
    machine: dict[str, str]
    results: tuple[ArmResult, ...]
    failed: dict[str, str]
    joined: tuple[Run, ...] = Field(default=(), description="none: one run")
