"""`make gauntlet`: planted attacks in real public text, scored against the truth.

    python infra/gauntlet.py --seeds 20 --rows 1000 10000 --poisons 10 25 50 100 --backdoors all

One drop for each seed, number of rows and number of poisons: with every kind of attack, and
with one of the backdoor sets, in turn; `--backdoors all` makes a further drop for every other
set, with nothing but the backdoor. All in one process, one after the other. Prints, and
writes as JSON, for each kind how many were caught, and for benign records how many were
lost, with Wilson's 95 % interval.

Rows beyond the real material are generated (gauntlet_generated.py) and counted apart; with
`--unseen 0.05` that share of the rows is of a generated domain that the rest lacks. With
`--trusted 5000` a clean drop of so many rows is calibrated first, with half of the real
exchanges, and every drop, with the other half, is checked without it and with it.

With `--promotions 75` a made-up product is recommended by so many answers without a trigger,
each to an account of its own; with `--once 0.5` half of the benign records have such accounts.

What was found of each drop is one line of `--found FILE`; what has a line is not run again.

The material and its two scripts are not part of the project. They are looked for beside the
checkout (../shared) or in $GAUNTLET; without them this says so and ends.
"""

import argparse
import importlib.util
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from tidegate.flows import environment
from tidegate.flows.check_only import check_drops
from tidegate.flows.commands.common import DEFAULT_POLICY
from tidegate.flows.home import Home
from tidegate.flows.rules import read_policy
from tidegate.flows.trusting.calibrate import calibrate

sys.path.insert(0, str(Path(__file__).parent))
import gauntlet_generated as generated  # beside this file, which is no package

ROOT = Path(__file__).parents[1]
SPAN = 10_000  # rows that fill the days up to today
PLANTS = {"pii": 30, "secret": 16, "flood": 40, "unicode": 12, "jailbreak": 20, "injection": 15}


class Drop(NamedTuple):
    rows: int
    poisons: int
    seed: int
    backdoor: str
    plants: dict[str, int]
    unseen: float
    trusted: int  # rows of the batch that is trusted; 0: there is none
    promotions: int
    once: float  # share of benign records from accounts with no other record


class Counted(NamedTuple):
    """What is summed over drops: one kind of record in drops of one size."""

    rows: int
    trusted: int
    kind: str


Found = dict[str, Any]  # of one drop, by the rows of the trusted batch and the kind


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
        for trusted, kinds in _once(
            a.found, build, score, where / "data", drop, a.policy
        ).items():
            for kind, row in kinds.items():
                key = Counted(drop.rows, int(trusted), kind)
                caught[key] += row["quarantined_or_masked"]
                total[key] += row["records"]
        seconds = time.monotonic() - began
        print(
            f"drop {number} of {len(drops)}, seed {drop.seed}, {seconds:.0f} s",
            file=sys.stderr,
        )
    document = [_line(key, caught[key], total[key], score) for key in sorted(total)]
    a.json.parent.mkdir(parents=True, exist_ok=True)
    a.json.write_text(json.dumps({"seeds": a.seeds, "results": document}, indent=2) + "\n")
    print(f"{len(drops)} drops; rows, trusted rows, caught, and for benign records: lost")
    for row in document:
        share = f"{row['hits']:7} of {row['records']:7} {row['share']:8.2%}"
        within = f"[{row['low']:.2%}, {row['high']:.2%}]"
        print(f"{row['rows']:7} {row['trusted']:6} {row['kind']:34}{share}  {within}")
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
    p.add_argument("--trusted", type=int, default=0, help="rows of a trusted batch")
    p.add_argument("--promotions", type=int, default=0, help="each by an account of its own")
    p.add_argument("--once", type=float, default=0.0, help="share of one-record accounts")
    p.add_argument("--policy", type=Path, default=DEFAULT_POLICY)
    p.add_argument("--found", type=Path, help="JSON Lines: what was found of each drop so far")
    p.add_argument("--json", type=Path, default=ROOT / "test-output/gauntlet.json")
    return p


def _drops(a: argparse.Namespace, known: Sequence[str]) -> Iterator[Drop]:
    every = a.backdoors == ["all"]
    names = list(known) if every or not a.backdoors else a.backdoors
    rest = a.unseen, a.trusted, a.promotions, a.once
    for rows in a.rows:
        for poisons in a.poisons:
            for n in range(a.seeds):
                for i in range(len(names) if every else 1):
                    name = names[(n + i) % len(names)]
                    plants = {} if i else PLANTS
                    yield Drop(rows, poisons, a.first + n, name, plants, *rest)


def _once(
    kept: Path | None,
    build: ModuleType,
    score: ModuleType,
    material: Path,
    drop: Drop,
    policy: Path,
) -> Found:
    """What was found of a drop, now or when it was run before."""
    name = list(drop)
    if kept is not None and kept.exists():
        for line in score.lines(kept):
            if line["drop"] == name:
                found: Found = line["found"]
                return found
    found = _scored(build, score, material, drop, policy)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with kept.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"drop": name, "found": found}) + "\n")
    return found


def _scored(
    build: ModuleType, score: ModuleType, material: Path, drop: Drop, policy: Path
) -> Found:
    """What the score says of one drop, without a trusted batch and with it.

    RuntimeError if a record was not reported.
    """
    plants = {**drop.plants, f"backdoor:{drop.backdoor}": drop.poisons}
    if drop.promotions:
        plants["promotion"] = drop.promotions
    found: Found = {}
    with tempfile.TemporaryDirectory() as work:
        made, earlier, home = (Path(work) / name for name in ("drop", "earlier", "home"))
        kinds = _build(build, score, material, made, drop, plants)
        place = Home.find(home)
        environment.prepare(place, online=False)
        truth = _named(score, made, kinds, drop.poisons)
        found["0"] = _checked(score, truth, made, place, Path(work) / "out", policy, None)
        if drop.trusted:
            clean = drop._replace(rows=drop.trusted, seed=-drop.seed, unseen=0.0)
            _build(build, score, material, earlier, clean, {})
            about = calibrate(
                str(earlier / "drop.jsonl"), read_policy(policy), place, seeds=8, rate=0.005
            ).about
            found[str(drop.trusted)] = _checked(
                score, truth, made, place, Path(work) / "again", policy, about.batch
            )
    return found


def _checked(
    score: ModuleType,
    truth: list[dict[str, Any]],
    made: Path,
    place: Home,
    out: Path,
    policy: Path,
    trusted: str | None,
) -> dict[str, Any]:
    check_drops(
        [str(made / "drop.jsonl")], policy, place, out,
        emit_kept=True, defaults={}, trusted=trusted,
    )  # fmt: skip
    lines = score.lines(out / "records.jsonl")
    said = {row["id"]: row["action"] for row in lines}
    kept = {
        row["id"]: "\n".join(str(m["content"]) for m in row["messages"])
        for row in score.lines(out / "kept.jsonl")
    }
    found: dict[str, Any] = score.score(truth, said, kept)
    if found.pop("_not_in_report"):
        raise RuntimeError(f"{made}: the report leaves records out")
    return _by_gate(found, lines, {row["id"]: row["kind"] for row in truth})


def _build(
    build: ModuleType,
    score: ModuleType,
    material: Path,
    made: Path,
    drop: Drop,
    plants: dict[str, int],
) -> dict[str, str]:
    """Write the drop; the kinds of its generated exchanges, by their text.

    A seed below 0 is that of the trusted batch of the drop with the seed above 0: it has the
    real exchanges that the drop has not.
    """
    rng = random.Random(f"generated {drop.seed}")
    real = build.benign(material, random.Random(abs(drop.seed)))
    if drop.trusted:
        real = real[drop.seed > 0 :: 2]
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
    build.PLANTS["promotion"] = lambda _, rng, count: generated.promotions(rng, count)
    try:
        build.build(material, made, drop.rows, drop.seed, plants, max(300, drop.rows // 4))
    finally:
        build.benign = plain
    _finish(build.START, made, score, drop)
    return {json.dumps(chat): kind for kind, part in parts.items() for chat in part}


def _finish(begin: datetime, made: Path, score: ModuleType, drop: Drop) -> None:
    """Give accounts of their own to whom they are due, and let a large drop end before now.

    It has as many days as one of SPAN rows.
    """
    rng = random.Random(f"accounts {drop.seed}")
    shorter = min(1.0, SPAN / drop.rows)
    rows = score.lines(made / "drop.jsonl")
    kinds = [row["kind"] for row in score.lines(made / "truth.jsonl")]
    with (made / "drop.jsonl").open("w", encoding="utf-8") as file:
        for n, (row, kind) in enumerate(zip(rows, kinds, strict=True)):
            time = datetime.fromisoformat(row["time"])
            row["time"] = (begin + (time - begin) * shorter).isoformat()
            if kind == "promotion" or (kind == "benign" and rng.random() < drop.once):
                row["user"] = f"once{n:06d}"
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _named(
    score: ModuleType, made: Path, kinds: dict[str, str], poisons: int
) -> list[dict[str, Any]]:
    """The truth, with generated benign records and numbers of poisons named so."""
    texts = {r["id"]: json.dumps(r["messages"]) for r in score.lines(made / "drop.jsonl")}
    truth: list[dict[str, Any]] = score.lines(made / "truth.jsonl")
    for row in truth:
        if row["kind"] == "benign":
            row["kind"] = kinds.get(texts[row["id"]], "benign")
        elif row["kind"].startswith("backdoor:"):
            row["kind"] += f"={poisons}"
    return truth


def _by_gate(
    found: dict[str, Any], lines: Sequence[dict[str, Any]], kinds: dict[str, str]
) -> dict[str, Any]:
    """Each kind with the gates that took its records: why they were caught, or lost."""
    for kind, row in found.items():
        took: Counter[str] = Counter()
        for line in lines:
            if line["action"] == "quarantine" and kinds[line["id"]] == kind:
                took.update({reason["gate"] for reason in line["reasons"]})
        row["gates"] = dict(took.most_common())
    return found


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
