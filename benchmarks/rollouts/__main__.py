"""`python -m benchmarks.rollouts`: every rule in every world, one page of Markdown and a plot.

`--size small` takes a minute and is what the tests run; `--size full` is what the README quotes. Seeds are fixed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

from benchmarks.rollouts import cells, page
from benchmarks.rollouts.cost import measure


def main() -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=sorted(cells.SIZES), default="small")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks/rollouts"))
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    size, started = cells.SIZES[arguments.size], time.monotonic()
    arguments.out.mkdir(parents=True, exist_ok=True)
    cost = measure()
    with ProcessPoolExecutor(arguments.workers) as pool:
        tables = {name: pool.submit(call, size) for name, call in cells.TABLES.items()}
        nulls = list(pool.map(cells.null_shares, cells.null_jobs(size)))
        found = {name: future.result() for name, future in tables.items()}
    text, targets = page.write(arguments.out, nulls, found, cost, arguments.size)
    print(text)
    seconds = time.monotonic() - started
    print(f"{seconds:.0f} s; the page and its plot are in {arguments.out}")
    facts = {"size": arguments.size, "seconds": round(seconds, 1), "targets": [asdict(target) for target in targets]}
    (arguments.out / "targets.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    return 0 if arguments.size == "small" or all(target.held for target in targets) else 1


if __name__ == "__main__":
    sys.exit(main())
