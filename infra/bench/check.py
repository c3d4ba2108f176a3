"""Speed and memory of ingest and check.

    python infra/bench/check.py --rows 100000

Makes chats of about 300 characters from a fixed vocabulary (no two alike, two in a hundred
with personal data, one in a thousand with a secret, one in a hundred with hidden
characters, every fourth with a vote), then ingests and checks them with every gate of
policies/default.yaml against the texts of the shipped suites. Prints records a second for
each stage, by the processor's time, and the peak resident memory. The counts over the whole
batch, triggers among them, are made after the last chunk: they are in the stage that follows.
"""

import argparse
import json
import random
import resource
import tempfile
import time
from pathlib import Path

from tidegate.flows.environment import prepare
from tidegate.flows.home import Home
from tidegate.gates.types import Progress

FIRST = (
    "ba",
    "ce",
    "di",
    "fo",
    "gu",
    "ka",
    "le",
    "mi",
    "no",
    "pu",
    "ra",
    "se",
    "ti",
    "vo",
    "zu",
)
LAST = ("lan", "mer", "tin", "dos", "ker", "vel", "nor", "sa", "ri", "que")
WORDS = [first + last for first in FIRST for last in LAST]
POLICY = Path("policies/default.yaml")


def chat(rng: random.Random, words: int) -> str:
    return " ".join(rng.choices(WORDS, k=words)).capitalize() + "."


def write_drop(path: Path, rows: int, seed: int) -> None:
    rng = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        for n in range(rows):
            asked, answer = chat(rng, 20), chat(rng, 30)
            if n % 100 == 0:
                asked += f" Write to {rng.choice(WORDS)}{n}@example.org."
                answer += f" Or call 415-555-{n % 10000:04d}."
            if n % 100 == 50:
                answer += f" Meet me at {n} {rng.choice(WORDS).title()} Street, Apt. 4."
            if n % 1000 == 1:
                asked += " My key is AKIA" + "".join(
                    rng.choices("ABCDEFGHIJKLMNOP234567", k=16)
                )
            if n % 100 == 2:
                asked = asked.replace("a", "a\u200b", 3)
            row = {
                "id": f"r{n:08d}",
                "time": f"2026-10-{1 + n % 28:02d}T12:00:00Z",
                "source": rng.choice(("chat", "api")),
                "user": f"u{rng.randrange(max(1, rows // 3))}",
                "messages": [
                    {"role": "user", "content": asked},
                    {"role": "assistant", "content": answer},
                ],
                "consent": True,
            }
            if n % 4 == 3:
                row["feedback"] = {"rating": rng.choice(("up", "up", "down"))}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def peak() -> float:
    """MB resident at most, since the process began."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--policy", type=Path, default=POLICY)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home, out = Home(Path(folder) / "home"), Path(folder) / "out"
        prepare(home)
        from tidegate.evals.suite import find_suites
        from tidegate.flows.check import check
        from tidegate.flows.ingest import ingest
        from tidegate.gates.policy.load import load_policy

        policy = load_policy(args.policy)
        protected = [text for suite in find_suites() for text in suite.texts()]
        drop = Path(folder) / "drop.jsonl"
        write_drop(drop, args.rows, args.seed)
        megabytes = drop.stat().st_size / 1e6
        print(f"{args.rows:,} records, {megabytes:.0f} MB; start at {peak():.0f} MB")

        began = time.process_time()
        batch = ingest([drop], home=home, out=out, pseudonym_key=b"k" * 32)
        said("ingest", args.rows, time.process_time() - began, peak())

        stages: dict[str, tuple[float, float, float]] = {}

        began = ended = time.process_time()

        def watch(progress: Progress) -> None:
            nonlocal ended  # a stage begins where the one before it ended
            first = stages.get(progress.stage, (ended,))[0]
            ended = time.process_time()
            stages[progress.stage] = (first, ended, peak())

        checked = check(
            batch, policy,
            home=home, arrived=out, out=out, protected=protected, progress=watch,
        )  # fmt: skip
        ended = time.process_time()
        for name, (first, last, megabytes) in stages.items():
            said(f"  {name}", args.rows, last - first, megabytes)
        said("check", args.rows, ended - began, peak())
        print(f"{checked.decision.action}: {checked.rows:,} kept, {checked.masked:,} masked")
        for ruling in checked.rulings:
            print(f"  {ruling.gate}: {ruling.verdict.outcome}")


def said(stage: str, rows: int, seconds: float, megabytes: float) -> None:
    rate = rows / max(seconds, 1e-9)
    print(f"{stage:28}{seconds:9.1f} s CPU{rate:12,.0f} records/s   peak {megabytes:,.0f} MB")


if __name__ == "__main__":
    main()
