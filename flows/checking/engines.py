"""Where a check measures its records: in this process unless somebody says otherwise.

What other processes and machines have measured waits in the cache until the check is done
with it. It is named by the batch, the settings and the code; after kill -9 the same check
goes on from there.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock

from tidegate.flows.home import Home
from tidegate.flows.provenance import code_digest
from tidegate.flows.usage import UsageError
from tidegate.gates.signals.compute import Map, in_this_process

HERE = "local"


@contextmanager
def chosen(engine: str | None, home: Home, batch: str) -> Iterator[Map]:
    """The map of an engine by its name, else of $TIDEGATE_ENGINE, else of this process.

    batch: its digest. Raises UsageError for an engine that is not known or not installed.
    """
    named = engine or os.environ.get("TIDEGATE_ENGINE") or HERE
    if named == HERE:
        yield in_this_process
        return
    from tidegate.gates.signals import engines

    folder = home.cache / "signals" / batch.removeprefix("sha256:")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Two checks of one batch would take each other's parts away.
    with FileLock(folder.with_suffix(".lock")):
        try:
            parts = engines.engine(named, folder, code_digest())
        except (ValueError, ImportError) as no:
            raise UsageError(str(no)) from no
        yield parts
        shutil.rmtree(folder)  # only now: what was done before a crash is not done again
