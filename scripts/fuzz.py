"""Search for a request that makes the predictor fail.

`python scripts/fuzz.py parsers --seconds 600` lets atheris (coverage-guided, on libFuzzer) make bodies for the V1, V2
JSON, V2 binary and gRPC readers; what it learns is kept in `tests/unit/serving/corpus`, which the tests replay. `python
scripts/fuzz.py documents --examples 10000` starts a server and lets schemathesis make that many calls from the OpenAPI
documents that it serves. Both end with 0 only when nothing was answered with 5xx.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
CORPUS = ROOT / "tests" / "unit" / "serving" / "corpus"
sys.path.insert(0, str(ROOT))

from tests.local.documents import LEFT_OUT, OPERATIONS, command  # noqa: E402
from tests.local.test_predictor_process import served  # noqa: E402


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    parsers = verbs.add_parser("parsers")
    parsers.add_argument("--seconds", type=int, default=600)
    documents = verbs.add_parser("documents")
    documents.add_argument("--examples", type=int, default=10_000)
    arguments = parser.parse_args()
    if arguments.verb == "parsers":
        return fuzz_parsers(arguments.seconds)
    return fuzz_documents(arguments.examples)


def version(folder: Path) -> Path:
    """A version to ask, as a pod finds it."""
    from sabia.store.objects import Store
    from sabia.training.recipe import BREAST_CANCER, read
    from sabia.training.run import run

    store = Store.open(folder.as_uri(), make=True)
    names = [published.manifest.version for _, published in run(read(BREAST_CANCER), store)]
    return folder / "models" / "breast-cancer" / names[-1]


def fuzz_parsers(seconds: int) -> int:
    """Run libFuzzer on everything that reads a body; it ends this process."""
    import atheris

    with atheris.instrument_imports(include=["sabia.serving"]):
        from sabia.serving.inference.loading import load_artifact
        from sabia.serving.inference.model import Model
        from sabia.serving.settings import Settings
        from tests.unit.serving.replay import Bodies, seeds

    with tempfile.TemporaryDirectory() as folder:
        bodies = Bodies(Model(load_artifact(Settings(source=str(version(Path(folder)))))))
    CORPUS.mkdir(exist_ok=True)
    for at, seed in enumerate(seeds()):
        (CORPUS / f"seed-{at:02}").write_bytes(seed)
    atheris.Setup(
        [sys.argv[0], f"-max_total_time={seconds}", "-max_len=4096", "-timeout=5", "-rss_limit_mb=2048", str(CORPUS)],
        bodies,
    )
    atheris.Fuzz()
    return 0


def fuzz_documents(examples: int) -> int:
    """Ask a real server what its own documents allow, and what they do not."""
    with tempfile.TemporaryDirectory() as folder, served(version(Path(folder))) as server:
        return max(ask(server.url, protocol, examples // OPERATIONS[protocol]) for protocol in LEFT_OUT)


def ask(url: str, protocol: str, examples: int) -> int:
    """The exit code of schemathesis on one document."""
    with tempfile.TemporaryDirectory() as notes:
        done = subprocess.run(command(url, protocol, examples), check=False, cwd=notes)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
