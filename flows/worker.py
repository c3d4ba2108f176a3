"""Serve the `update` flow as a deployment, so that Prefect's UI and schedules can start it.

Run by `tidegate serve`: `python -m tidegate.flows.worker MODEL HOME`.
"""

import sys

from tidegate.flows.environment import prepare
from tidegate.flows.home import Home


def main() -> None:
    model, home = sys.argv[1], Home.find()
    prepare(Home(home.root) if len(sys.argv) < 3 else Home(home.root.__class__(sys.argv[2])))
    from tidegate.flows.update import update

    update.serve(
        name=model,
        parameters={"model": model, "drops": ["drops/*.jsonl"], "home": sys.argv[2]},
        limit=1,
        print_starting_message=False,
    )


if __name__ == "__main__":
    main()
