"""`python -m tidegate.flows.bound PARENT COMMAND…`: a command that ends when its parent does.

However the parent ends, SIGKILL included: the kernel tells the child (prctl(2),
PR_SET_PDEATHSIG), and the word survives the exec. On Linux only; elsewhere the command is
run as it is.
"""

import ctypes
import os
import signal
import sys

SET_PARENT_DEATH_SIGNAL = 1  # linux/prctl.h


def main() -> None:
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl: the death of the parent is not told")
    if os.getppid() != int(parent):
        sys.exit(f"{parent} ended before this began")
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
