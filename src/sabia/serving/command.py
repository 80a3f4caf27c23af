"""`sabia serve [URL] [--SETTING VALUE]...`, and the image's `python -m predictor`: serve one version."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence

# One row is microseconds of work. Threads that numpy would start for it are never used, and would forbid forking.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from sabia.serving.errors import LoadFailed
from sabia.serving.process import serve
from sabia.serving.settings import parse


def main(
    arguments: Sequence[str], environment: Mapping[str, str] = os.environ, *, prog: str = "python -m predictor"
) -> int:
    """Serve until a signal; exit code 1 and one line when the version cannot be served.

    A first argument that is not an option is the source.
    """
    named = arguments[:1] and not arguments[0].startswith("-")
    settings = parse(["--source", *arguments] if named else arguments, environment, prog=prog)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        serve(settings)
    except LoadFailed as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0
