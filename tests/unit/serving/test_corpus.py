"""What the fuzzer has found worth keeping is asked again."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from sabia.registry.verification import Artifact
from sabia.serving.inference.model import Model
from tests.unit.serving.replay import Bodies

CORPUS = Path(__file__).parent / "corpus"


def test_nothing_in_the_corpus_is_our_fault(logistic: Artifact) -> None:
    found = sorted(CORPUS.iterdir())
    assert len(found) > 50
    with closing(Bodies(Model(logistic))) as bodies:
        for path in found:
            bodies(path.read_bytes())
