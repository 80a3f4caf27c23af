"""`python -I -S leash.py PARENT_PID COMMAND…`: become COMMAND, and die with the parent however it dies.

Run as a file, with nothing of this project imported: it stands between fork and exec. Linux delivers the chosen signal
when the parent ends, `kill -9` included; a parent that ended before that is noticed here.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>


def main() -> None:
    """Tie this process to its parent and become the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit("the parent has ended")
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main()
