"""`tidegate calibrate-data`: what a trusted batch teaches the statistical data gates."""

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from tidegate.flows.commands.common import (
    DEFAULT_POLICY,
    AsJson,
    Fill,
    Floor,
    Place,
    PolicyFile,
    pairs,
    print_json,
    start,
)
from tidegate.flows.trusting.store import Trusted

EXAMPLE = "Example: tidegate calibrate-data --trusted drops/2026-10.jsonl --seeds 16"


def calibrate_data(
    trusted: Annotated[str, typer.Option(help="A drop, or the digest of a batch in the home.")],
    policy: PolicyFile = DEFAULT_POLICY,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Times the batch is split.")] = 8,
    false_rate: Annotated[
        float,
        typer.Option(
            min=0.0001, max=0.1, help="Share of clean records that a limit may hit, at worst."
        ),
    ] = 0.005,
    reviewed: Annotated[
        bool,
        typer.Option(
            "--reviewed",
            help="A person looked at what the gates refuse of this batch: learn from it too.",
        ),
    ] = False,
    fill: Fill = None,
    floor: Floor = None,
    home: Place = None,
    as_json: AsJson = False,
) -> None:
    """Learn from a trusted batch what is known, and which limits rarely err on it."""
    place, console = start(home, as_json)
    from tidegate.flows.progress import report, showing
    from tidegate.flows.rules import read_policy
    from tidegate.flows.trusting.calibrate import calibrate

    with showing(console):
        found = calibrate(
            trusted,
            read_policy(policy, floor),
            place,
            seeds=seeds,
            rate=false_rate,
            reviewed=reviewed,
            defaults=pairs(fill),
            progress=report,
        )
    if as_json:
        print_json({"calibration": found.calibration, **found.about.model_dump(mode="json")})
    else:
        _show(console, found)


def _show(console: Console, found: Trusted) -> None:
    about, known = found.about, found.known
    whole = "all records, as reviewed" if about.learned_from == "reviewed" else "what was kept"
    console.print(f"{about.rows:,} records ({whole}), split {len(about.seeds)} times")
    console.print(
        f"  known      {len(known.words):,} words and pairs, {len(known.answers):,} answers; "
        f"a record is of an unseen domain above {about.usual:.0%} unknown words",
        highlight=False,
    )
    for column, limit in about.limits.items():
        if limit.limit is None:
            said = f"too few records to show {about.rate:.2%} or less for any limit"
        else:
            said = (
                f"limit {limit.limit:.4g}: {limit.hits} of {limit.records:,} clean records "
                f"above it, at most {limit.high:.2%}"
            )
        console.print(f"  {column:<14} {said}; largest {limit.largest:.4g}", highlight=False)
    console.print(
        f"  use        --trusted {escape(about.batch)}", soft_wrap=True, highlight=False
    )
