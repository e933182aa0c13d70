"""Run a program that ends when its launcher ends, even if the launcher is killed.

Called as `python tether.py LAUNCHER_PID PROGRAM ARGUMENT...`. It asks the kernel to send SIGTERM when the
launcher dies, then becomes the program. A program of its own, because code between fork and exec in a
process with threads is not safe.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    launcher_pid = int(sys.argv[1])
    program = sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        # The launcher may have died before the kernel was asked.
        if os.getppid() != launcher_pid:
            sys.exit(1)
    os.execv(program[0], program)  # noqa: S606


if __name__ == "__main__":
    main()
