"""`python -m sabia.serving`: serve one version; status 1 and one line when it cannot be served."""

from __future__ import annotations

import logging
import os
import sys

# One row is microseconds of work. Threads that numpy would start for it are never used, and would forbid forking.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from sabia.serving.errors import LoadFailed
from sabia.serving.process.server import serve
from sabia.serving.settings import parse


def main() -> int:
    """Read the settings and serve until a signal."""
    settings = parse(sys.argv[1:], os.environ)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        serve(settings)
    except LoadFailed as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
