"""Serve the `update` flow as a deployment, so that Prefect's UI and schedules can start it.

Run by `tidegate serve`: `python -m tidegate.flows.worker MODEL HOME DROPS`.
"""

import sys
from pathlib import Path

from tidegate.flows.environment import prepare
from tidegate.flows.home import Home


def main() -> None:
    model, home, drops = sys.argv[1:]
    prepare(Home.find(Path(home)))
    from tidegate.flows.update import update

    update.serve(
        name=model,
        description="Learn from what the deployment met, if every gate of the policy passes.",
        parameters={"model": model, "drops": [drops], "home": home},
        limit=1,  # one update at a time: the second waits
        print_starting_message=False,
    )


if __name__ == "__main__":
    main()
