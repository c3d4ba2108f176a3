"""The model card: `README.md` with Hugging Face front matter, for a folder with the adapter.

The front matter is made, and read again, by huggingface_hub: what it would not read is never
written (https://github.com/huggingface/hub-docs/blob/main/modelcard.md). The card is for whoever
gets the weights: it names no person.
"""

import re
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from tidegate.flows.documents.account import Account
from tidegate.flows.documents.markdown import DocumentError, render
from tidegate.flows.reviewing.wording import clean

TASK = "text-generation"
# https://huggingface.co/docs/hub/repositories-licenses; any other is "other" with a name.
HUB_LICENSES = frozenset(
    [
        "afl-3.0",
        "agpl-3.0",
        "apache-2.0",
        "artistic-2.0",
        "bigcode-openrail-m",
        "bigscience-bloom-rail-1.0",
        "bigscience-openrail-m",
        "bsd",
        "bsd-2-clause",
        "bsd-3-clause",
        "bsd-3-clause-clear",
        "bsl-1.0",
        "c-uda",
        "cc",
        "cc-by-2.0",
        "cc-by-2.5",
        "cc-by-3.0",
        "cc-by-4.0",
        "cc-by-nc-2.0",
        "cc-by-nc-3.0",
        "cc-by-nc-4.0",
        "cc-by-nc-nd-3.0",
        "cc-by-nc-nd-4.0",
        "cc-by-nc-sa-2.0",
        "cc-by-nc-sa-3.0",
        "cc-by-nc-sa-4.0",
        "cc-by-nd-4.0",
        "cc-by-sa-3.0",
        "cc-by-sa-4.0",
        "cc0-1.0",
        "cdla-permissive-1.0",
        "cdla-permissive-2.0",
        "cdla-sharing-1.0",
        "creativeml-openrail-m",
        "ecl-2.0",
        "epl-1.0",
        "epl-2.0",
        "eupl-1.1",
        "eupl-1.2",
        "gemma",
        "gfdl",
        "gpl",
        "gpl-2.0",
        "gpl-3.0",
        "isc",
        "lgpl",
        "lgpl-2.1",
        "lgpl-3.0",
        "llama2",
        "llama3",
        "llama3.1",
        "llama3.2",
        "llama3.3",
        "lppl-1.3c",
        "mit",
        "mpl-2.0",
        "ms-pl",
        "ncsa",
        "odbl",
        "odc-by",
        "ofl-1.1",
        "openrail",
        "openrail++",
        "osl-3.0",
        "postgresql",
        "unlicense",
        "wtfpl",
        "zlib",
    ]
)


def model_card(account: Account) -> str:
    """The card as Markdown behind its front matter.

    Raises DocumentError if huggingface_hub reads it otherwise.
    """
    data: Any = ModelCardData  # parts of it have no types
    front = data(
        model_name=clean(account.model, 100),
        base_model=_slug(account.base.name),
        base_model_relation="adapter",
        library_name="peft",
        pipeline_tag=TASK,
        tags=[
            "cartridge" if account.kind == "cartridge" else "lora",
            "peft",
            "continual-learning",
            "tidegate",
            f"decision:{account.action}",
        ],
        eval_results=_results(account) or None,
        **_license(account.base.license),
    )
    body = render(
        "card.md.j2", account=account, policy=account.past.policy, recipe=account.recipe
    )
    text = f"---\n{front.to_yaml()}\n---\n\n{body}"
    read: Any = ModelCard(text, ignore_metadata_errors=False)
    if read.data.to_dict() != front.to_dict() or read.text.strip() != body.strip():
        raise DocumentError("huggingface_hub reads the card otherwise than it was written")
    return text


def _license(of_base: str) -> dict[str, str]:
    """The base's, which an adapter is bound by; nothing where it is not known."""
    name = of_base.strip().lower()
    if name in ("", "unknown"):
        return {}
    if name in HUB_LICENSES:
        return {"license": name}
    return {"license": "other", "license_name": _slug(name)}


def _results(account: Account) -> list[EvalResult]:
    """The candidate's own means; its changes and their bounds are in the card's table."""
    return [
        EvalResult(
            task_type=TASK,
            dataset_type=_slug(metric.name.partition(".")[0]),
            dataset_name=clean(metric.name.partition(".")[0], 100),
            dataset_args={"items": metric.n},
            metric_type=_slug(metric.name.partition(".")[2]),
            metric_name=clean(metric.name, 100),
            metric_value=round(metric.values["candidate"].value, 6),
        )
        for metric in account.metrics
        if "candidate" in metric.values
    ]


def _slug(text: str) -> str:
    """As the Hub takes it for an id: letters, digits, dots, dashes and underscores."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:96] or "unnamed"
