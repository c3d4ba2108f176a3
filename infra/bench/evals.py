"""Answers scored per second: our token trees against lm-eval's own rows, in the same run.

    python infra/bench/evals.py [--items 24] [--rounds 3]

Both score the same items of the shipped suites on the embedded model, one after the other
and alternating; the best round of each counts, so that a neighbour's load hits neither.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from tidegate.evals.scorer import ROWS, Scorer
from tidegate.evals.suite import find_suites
from tidegate.flows.home import Home
from tidegate.training.base import find_base, load_model


def requests(model: HFLM, items: int) -> dict[str, list[Any]]:
    """lm-eval's requests for the first items of every suite, by kind."""
    found: dict[str, list[Any]] = {"loglikelihood": [], "loglikelihood_rolling": []}
    for suite in find_suites():
        task = TaskManager(include_defaults=False).load([str(suite.path)])["tasks"][suite.task]
        task.build_all_requests(
            limit=items,
            apply_chat_template=True,
            fewshot_as_multiturn=True,
            chat_template=model.apply_chat_template,
        )
        for request in task.instances:
            found[request.request_type].append(request)
    return found


def seconds(model: HFLM, asked: dict[str, list[Any]]) -> float:
    started = time.perf_counter()
    for kind, some in asked.items():
        getattr(model, kind)(some, disable_tqdm=True)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--items", type=int, default=24, help="items of each suite")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=Home.find().cache)
    args = parser.parse_args()
    base = find_base("smollm2-135m-instruct", args.cache)
    model, tokenizer = load_model(base)
    ours = Scorer(model, tokenizer)
    stock = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=ROWS)
    asked = requests(ours, args.items)
    answers = sum(len(some) for some in asked.values())
    best = {"ours": float("inf"), "stock": float("inf")}
    for _ in range(args.rounds):
        best["ours"] = min(best["ours"], seconds(ours, asked))
        best["stock"] = min(best["stock"], seconds(stock, asked))
    print(
        json.dumps(
            {
                "bench": "evals",
                "answers": answers,
                "answers_per_second": round(answers / best["ours"], 2),
                "stock_answers_per_second": round(answers / best["stock"], 2),
                "ratio": round(best["stock"] / best["ours"], 2),
                "against": f"lm-eval HFLM, batch size {ROWS}, the same model and run",
            }
        )
    )


if __name__ == "__main__":
    main()
