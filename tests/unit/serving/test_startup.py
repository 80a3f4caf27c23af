"""What a server loads before it listens: neither a command's libraries, nor KServe's SDK, nor those of the log."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {"duckdb", "grpc", "kserve", "kubernetes", "onnx", "pandas", "pyarrow", "requests", "rich", "sklearn", "typer"}
LOADED = """
import sys
import sabia.serving.command, sabia.serving.process.server, sabia.serving.process.workers
print(*sys.modules)
"""


def test_a_server_loads_nothing_that_it_does_not_need() -> None:
    done = subprocess.run([sys.executable, "-P", "-c", LOADED], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(done.stdout.split())
    assert {"sabia.serving.app", "onnxruntime", "uvloop"} <= loaded
    assert not loaded & HEAVY
    assert not [name for name in loaded if name.startswith(("sabia.cli", "sabia.publishing", "sabia.training"))]
