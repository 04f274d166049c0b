"""`python -m antiphon`: the command `antiphon`, for processes that this package starts and for torchrun."""

from __future__ import annotations

import os
import signal

from antiphon.runs.environment import LAUNCHED

if __name__ == "__main__":
    if os.environ.get(LAUNCHED):
        # A shell's background job ignores SIGINT and hands that on; `LaunchedRun.stop` sends it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    from antiphon.cli.main import main

    main()
