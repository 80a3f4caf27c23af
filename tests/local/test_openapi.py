"""The OpenAPI documents that a server serves are true: schemathesis makes requests from them, good and bad."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import requests

from tests.local.documents import LEFT_OUT, command
from tests.local.test_predictor_process import served


@pytest.mark.parametrize("protocol", sorted(LEFT_OUT))
def test_responses_fit_their_document_and_no_request_is_a_server_error(
    folder: Path, tmp_path: Path, protocol: str
) -> None:
    with served(folder) as server:
        asked = command(server.url, protocol, 150)
        done = subprocess.run(asked, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stdout[-3000:]
        assert requests.get(f"{server.url}/v2/health/ready", timeout=5).ok
