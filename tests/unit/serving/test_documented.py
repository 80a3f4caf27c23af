"""docs/serving.md has every path, setting and status; and what it documents exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from sabia.serving.errors import RequestError
from sabia.serving.inference import faults
from sabia.serving.protocols import openapi
from sabia.serving.routes import documented
from sabia.serving.settings import markdown

SERVING = (Path(__file__).parents[3] / "docs" / "serving.md").read_text()


def _kinds(of: type[RequestError] = RequestError) -> Iterator[type[RequestError]]:
    for kind in of.__subclasses__():
        yield kind
        yield from _kinds(kind)


KINDS = list(_kinds())


@pytest.mark.parametrize("fault", sorted(faults.NAMES))
def test_every_fault_is_documented(fault: str) -> None:
    assert f"`{fault}=" in SERVING


@pytest.mark.parametrize("path", documented())
def test_every_path_is_documented(path: str) -> None:
    assert f"{path}`" in SERVING


def test_the_documented_settings_are_those_of_the_server() -> None:
    assert markdown() in SERVING
    assert SERVING.count("\n| setting |") == 1


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_has_a_status_of_each_protocol(kind: type[RequestError]) -> None:
    assert 400 <= kind.http_status < 600
    assert grpc.StatusCode[kind.grpc_status] is not grpc.StatusCode.OK


def test_the_documented_statuses_are_those_of_the_errors() -> None:
    documented = re.findall(r"^\| (\d{3}) \| ([A-Z_]+) \| .+ \|$", SERVING, re.MULTILINE)
    assert sorted({(int(status), code) for status, code in documented}) == sorted(
        {(kind.http_status, kind.grpc_status) for kind in KINDS}
    )


def test_every_status_has_its_sentence_in_the_openapi_documents() -> None:
    assert openapi.STATUSES.keys() == {kind.http_status for kind in KINDS}
