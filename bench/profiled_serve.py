"""`perhop serve` under the profiler: SIGUSR2 begins, SIGUSR2 again ends and writes the file named first.

`python bench/profiled_serve.py FILE`, in the folder of an installation.
"""

from __future__ import annotations

import cProfile
import signal
import sys

from perhop.cli import main


def _toggle_into(file: str) -> None:
    profile, is_on = cProfile.Profile(), False

    def toggle(*_: object) -> None:
        nonlocal is_on
        is_on = not is_on
        if is_on:
            profile.enable()
        else:
            profile.disable()
            profile.dump_stats(file)

    signal.signal(signal.SIGUSR2, toggle)


if __name__ == "__main__":
    _toggle_into(sys.argv[1])
    sys.argv = ["perhop", "serve"]
    main()
