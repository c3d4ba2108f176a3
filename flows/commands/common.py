"""What every command has in common: its options, how it starts, how it prints JSON."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from tidegate.flows import environment
from tidegate.flows.home import Home

PACKAGE = Path(__file__).parents[2]
DEFAULT_POLICY = PACKAGE / "policies" / "default.yaml"
DEFAULT_RECIPE = PACKAGE / "policies" / "recipes" / "anchored.yaml"

Drops = Annotated[
    list[str],
    typer.Argument(help="JSONL or Parquet files, folders, globs, or mlflow:EXPERIMENT."),
]
PolicyFile = Annotated[
    Path, typer.Option("--policy", help="Policy, a YAML file.", show_default="the shipped one")
]
RecipeFile = Annotated[
    Path, typer.Option("--recipe", help="Recipe, a YAML file.", show_default="the shipped one")
]
Model = Annotated[str, typer.Option("--model", help="Name of the model line.")]
Place = Annotated[
    Path | None,
    typer.Option("--home", help="Folder of local state.", envvar="TIDEGATE_HOME"),
]
Tracking = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        help="MLflow server; a SQLite file in the home otherwise.",
        envvar="MLFLOW_TRACKING_URI",
    ),
]
Fill = Annotated[
    list[str] | None,
    typer.Option(
        "--default",
        help="FIELD=VALUE for a field that a drop does not have, such as consent=true.",
    ),
]
Floor = Annotated[
    Path | None,
    typer.Option(
        "--floor",
        help="Policy that every policy must meet; the shipped one otherwise.",
        envvar="TIDEGATE_FLOOR",
    ),
]
Trusted = Annotated[
    str | None,
    typer.Option(
        "--trusted",
        help="Digest of a trusted earlier batch, calibrated by `tidegate calibrate-data`.",
        envvar="TIDEGATE_TRUSTED",
    ),
]
Engine = Annotated[
    str | None,
    typer.Option(
        "--engine",
        help="Where records are measured: local, local:PROCESSES, ray or ray:ADDRESS.",
        envvar="TIDEGATE_ENGINE",
        show_default="local",
    ),
]
Processes = Annotated[
    int | None,
    typer.Option(
        "--processes",
        help="Training processes on this machine, one for each GPU.",
        envvar="TIDEGATE_PROCESSES",
        show_default="1",
    ),
]
Suites = Annotated[
    Path | None,
    typer.Option("--suites", help="Folder of further suites that the policy names."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


def start(home: Path | None, as_json: bool, online: bool = False) -> tuple[Home, Console]:
    place = Home.find(home)
    environment.prepare(place, online=online)
    # With --json, standard output is the document's alone.
    return place, Console(stderr=as_json)


def print_json(document: Any) -> None:
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def pairs(given: list[str] | None) -> dict[str, str]:
    pairs = {}
    for item in given or ():
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"--default {item!r}: write FIELD=VALUE, as consent=true")
        pairs[name] = value
    return pairs


def seconds(option: str, text: str) -> float:
    """A duration such as 90m, 48h or 2d, as an option was given it."""
    from pydantic import TypeAdapter, ValidationError

    from tidegate.gates.policy.values import Duration

    try:
        return float(TypeAdapter(Duration).validate_python(text))
    except ValidationError as no:
        raise typer.BadParameter(f"{option}: {no.errors()[0]['msg']}") from None
