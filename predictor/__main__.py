"""`python -m predictor`: serve one version; status 1 and one line when it cannot be served."""

from __future__ import annotations

import logging
import os
import sys

from predictor import config
from predictor.errors import LoadFailed


def main() -> int:
    """Read the settings and serve until a signal."""
    settings = config.read(sys.argv[1:], os.environ)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    # KServe configures a logger of its own that repeats what the server says.
    from predictor.server import serve  # noqa: PLC0415  KServe takes a second to import; wrong arguments need not wait

    try:
        serve(settings)
    except LoadFailed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
