"""`tidegate metrics`: numbers for a monitor."""

import sys

from tidegate.flows.commands.common import Place, start

EXAMPLE = "Example: tidegate metrics > /var/lib/node_exporter/textfile/tidegate.prom"


def metrics(home: Place = None) -> None:
    """Print counters in Prometheus's text format: rows by fate, verdicts, time, ledger height."""
    place, _ = start(home, as_json=True)
    from tidegate.flows.metrics import exposition

    sys.stdout.write(exposition(place).decode())
