"""`make gauntlet`: planted attacks in real public text, scored against the truth.

    python infra/gauntlet.py --seeds 20 --rows 1000 10000 --poisons 10 25 50 100 --backdoors all

One drop for each seed, number of rows and number of poisons: with every kind of attack, and
with one of the backdoor sets, in turn; `--backdoors all` makes a further drop for every other
set, with nothing but the backdoor. All in one process, one after the other. Prints, and
writes as JSON, for each kind how many were caught, and for benign records how many were
lost, with Wilson's 95 % interval.

Rows beyond the real material are generated (gauntlet_generated.py) and counted apart; with
`--unseen 0.05` that share of the rows is of a generated domain that the rest lacks.

The material and its two scripts are not part of the project. They are looked for beside the
checkout (../shared) or in $GAUNTLET; without them this says so and ends.
"""

import argparse
import importlib.util
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from tidegate.flows import environment
from tidegate.flows.check_only import check_drops
from tidegate.flows.commands.common import DEFAULT_POLICY
from tidegate.flows.home import Home

sys.path.insert(0, str(Path(__file__).parent))
import gauntlet_generated as generated  # beside this file, which is no package

ROOT = Path(__file__).parents[1]
PLANTS = {"pii": 30, "secret": 16, "flood": 40, "unicode": 12, "jailbreak": 20, "injection": 15}


class Drop(NamedTuple):
    rows: int
    poisons: int
    seed: int
    backdoor: str
    plants: dict[str, int]
    unseen: float


class Counted(NamedTuple):
    """Of one kind of record in drops of one size: how many, and how many were caught."""

    rows: int
    kind: str


def main() -> int:
    a = _parser().parse_args()
    where = Path(os.environ.get("GAUNTLET", ROOT.parent / "shared"))
    if not (where / "gauntlet/build_drops.py").exists():
        print(f"skipped: no material in {where}; set GAUNTLET to the folder that holds it")
        return 0
    build, score = (_script(where / f"gauntlet/{name}.py") for name in ("build_drops", "score"))
    sets = sorted((where / "data/backdoorllm").glob("backdoor500_*.json"))
    known = [path.stem.removeprefix("backdoor500_") for path in sets]
    drops = list(_drops(a, known))
    caught: Counter[Counted] = Counter()
    total: Counter[Counted] = Counter()
    began = time.monotonic()
    for number, drop in enumerate(drops, 1):
        for kind, row in _scored(build, score, where / "data", drop, a.policy).items():
            caught[Counted(drop.rows, kind)] += row["quarantined_or_masked"]
            total[Counted(drop.rows, kind)] += row["records"]
        seconds = time.monotonic() - began
        print(
            f"drop {number} of {len(drops)}, seed {drop.seed}, {seconds:.0f} s",
            file=sys.stderr,
        )
    document = [_line(key, caught[key], total[key], score) for key in sorted(total)]
    a.json.parent.mkdir(parents=True, exist_ok=True)
    a.json.write_text(json.dumps({"seeds": a.seeds, "results": document}, indent=2) + "\n")
    print(f"{len(drops)} drops; caught, and for benign records: lost")
    for row in document:
        share = f"{row['hits']:7} of {row['records']:7} {row['share']:8.2%}"
        print(f"{row['rows']:7} {row['kind']:34}{share}  [{row['low']:.2%}, {row['high']:.2%}]")
    return 0


def _parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--seeds", type=int, default=20, help="drops of each size")
    p.add_argument("--first", type=int, default=101, help="the first seed; tune on others")
    p.add_argument("--rows", type=int, nargs="+", default=[1000], help="benign records")
    p.add_argument("--poisons", type=int, nargs="+", default=[50], help="of the backdoor")
    p.add_argument("--backdoors", nargs="+", default=[], metavar="NAME", help="sets, or all")
    p.add_argument("--unseen", type=float, default=0.0, help="share of a domain of its own")
    p.add_argument("--policy", type=Path, default=DEFAULT_POLICY)
    p.add_argument("--json", type=Path, default=ROOT / "test-output/gauntlet.json")
    return p


def _drops(a: argparse.Namespace, known: Sequence[str]) -> Iterator[Drop]:
    every = a.backdoors == ["all"]
    names = list(known) if every or not a.backdoors else a.backdoors
    for rows in a.rows:
        for poisons in a.poisons:
            for n in range(a.seeds):
                for i in range(len(names) if every else 1):
                    name = names[(n + i) % len(names)]
                    plants = {} if i else PLANTS
                    yield Drop(rows, poisons, a.first + n, name, plants, a.unseen)


def _scored(
    build: ModuleType, score: ModuleType, material: Path, drop: Drop, policy: Path
) -> dict[str, Any]:
    """What the score says of one drop, by kind. RuntimeError if a record was not reported."""
    plants = {**drop.plants, f"backdoor:{drop.backdoor}": drop.poisons}
    with tempfile.TemporaryDirectory() as work:
        made, out, home = (Path(work) / name for name in ("drop", "out", "home"))
        kinds = _build(build, material, made, drop, plants)
        place = Home.find(home)
        environment.prepare(place, online=False)
        check_drops([str(made / "drop.jsonl")], policy, place, out, emit_kept=True, defaults={})
        said = {row["id"]: row["action"] for row in score.lines(out / "records.jsonl")}
        kept = {
            row["id"]: "\n".join(str(m["content"]) for m in row["messages"])
            for row in score.lines(out / "kept.jsonl")
        }
        found: dict[str, Any] = score.score(_named(score, made, kinds), said, kept)
        shutil.rmtree(home)
    if found.pop("_not_in_report"):
        raise RuntimeError(f"seed {drop.seed}: the report leaves records out")
    name = f"backdoor:{drop.backdoor}"
    found[f"{name}={drop.poisons}"] = found.pop(name)
    return found


def _build(
    build: ModuleType, material: Path, made: Path, drop: Drop, plants: dict[str, int]
) -> dict[str, str]:
    """Write the drop; the kinds of its generated exchanges, by their text."""
    rng = random.Random(f"generated {drop.seed}")
    real = build.benign(material, random.Random(drop.seed))
    new = round(drop.rows * drop.unseen)
    rest = max(0, drop.rows - new - len(real))
    parts = {
        "benign, generated": list(generated.exchanges(rng, rest)),
        "benign, generated, unseen domain": list(
            generated.exchanges(rng, new, generated.UNSEEN)
        ),
    }
    chats = [
        *real[: drop.rows - new - rest],
        *(chat for part in parts.values() for chat in part),
    ]
    plain = build.benign  # the plants ask for benign text too: theirs stays real
    asked = iter([chats])

    def benign(where: Path, rng: random.Random) -> Any:
        unchanged = plain(where, rng)  # drawn always, so that a seed's plants stay the same
        return next(asked, unchanged)

    build.benign = benign
    try:
        build.build(material, made, drop.rows, drop.seed, plants, max(300, drop.rows // 4))
    finally:
        build.benign = plain
    return {json.dumps(chat): kind for kind, part in parts.items() for chat in part}


def _named(score: ModuleType, made: Path, kinds: dict[str, str]) -> list[dict[str, Any]]:
    """The truth, with benign records that were generated named so."""
    texts = {r["id"]: json.dumps(r["messages"]) for r in score.lines(made / "drop.jsonl")}
    truth: list[dict[str, Any]] = score.lines(made / "truth.jsonl")
    for row in truth:
        if row["kind"] == "benign":
            row["kind"] = kinds.get(texts[row["id"]], "benign")
    return truth


def _line(key: Counted, hits: int, records: int, score: ModuleType) -> dict[str, Any]:
    low, high = score.wilson(hits, records)
    share = hits / records
    return {
        **key._asdict(), "hits": hits, "records": records, "share": share,
        "low": low, "high": high,
    }  # fmt: skip


def _script(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path}: cannot be read as Python")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    sys.exit(main())
