"""`make day`: a day of operation in minutes, on services that really run, with what goes wrong.

    python -m infra.day
    python -m infra.day --short --out test-output

PostgreSQL, MLflow with accounts and its files in an S3 store, Prefect with the deployments of
prefect.yaml, a worker for each pool, and a tiny model that is really trained. Drops arrive, good
and bad; a worker is killed; the database is restarted; people approve, refuse, roll back and
erase. Ends with 1 if afterwards anything is not as it should be (infra/day/accounts.py).
Writes day.json and day.svg, made from what the stores hold.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.deployed import ROOT


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--short", action="store_true", help="three drops and a killed worker")
    parser.add_argument("--out", type=Path, default=ROOT / "test-output", help="folder")
    parser.add_argument(
        "--keep", action="store_true", help="leave home and logs where they are"
    )
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tidegate-day-"))
    given.out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    # An end like any other, so that no service outlives the day.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    surroundings(folder)
    from infra.day import accounts, hours, picture, record
    from infra.day.world import world

    def say(what: str) -> None:
        print(f"{(time.monotonic() - began) / 60:5.1f} min  {what}", flush=True)

    try:
        with world(folder) as here:
            say(f"up, in {folder}")
            os.environ.update(here.registry.account("admin"))
            day = hours.Day(here, say)
            day.live(hours.SHORT if given.short else hours.HOURS)
            wrong = [*day.wrong, *accounts.wrong(here)]
            said = record.record(here, day, wrong)
        said["minutes"] = round((time.monotonic() - began) / 60, 1)
        (given.out / "day.json").write_text(json.dumps(said, indent=1) + "\n")
        picture.draw(said, given.out / "day.svg")
    finally:
        if not given.keep:
            shutil.rmtree(folder, ignore_errors=True)
    for one in wrong:
        say(f"WRONG: {one}")
    say(f"rows: {said['fates']}; by hand: {len(said['by_hand'])}; wrong: {len(wrong)}")
    return 1 if wrong else 0


def surroundings(folder: Path) -> None:
    """Nothing of whoever runs this: no registry, no engine, no home."""
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
        os.environ.pop(name, None)
    os.environ["PREFECT_HOME"] = str(folder / "prefect")
    os.environ["TIDEGATE_HOME"] = str(folder / "home")
    from tidegate.flows.environment import prepare
    from tidegate.flows.home import Home

    prepare(Home(folder / "home"))


if __name__ == "__main__":
    sys.exit(main())
