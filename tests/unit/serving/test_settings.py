from __future__ import annotations

import contextlib
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sabia.serving.settings import Settings, parse

NUMBERS = [field.name for field in fields(Settings) if str(field.type).startswith(("int", "float"))]


def test_arguments_go_before_the_environment_and_the_environment_before_defaults() -> None:
    environment = {"SABIA_HTTP_PORT": "9000", "SABIA_HOST": "127.0.0.1"}
    found = parse(["--http_port", "9001"], environment)
    assert (found.http_port, found.host, found.source) == (9001, "127.0.0.1", "/mnt/models")


def test_a_platforms_variable_stands_behind_ours() -> None:
    environment = {"AIP_HTTP_PORT": "9000", "AIP_PREDICT_ROUTE": "/vertex/predict"}
    assert parse([], environment).http_port == 9000
    assert parse([], environment).predict_route == "/vertex/predict"
    assert parse([], environment | {"SABIA_HTTP_PORT": "9001"}).http_port == 9001


def test_without_arguments_and_variables_every_setting_has_its_default() -> None:
    assert parse([], {}) == Settings()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--http_port", "x"], "--http_port must be a whole number, not 'x'"),
        (["--http_port", "-1"], "--http_port must be between 0 and 65535, not -1"),
        (["--http_port", "65536"], "--http_port must be between 0 and 65535, not 65536"),
        (["--grpc_port", "-1"], "--grpc_port must be between 0 and 65535"),
        (["--max_body_bytes", "0"], "--max_body_bytes must be at least 1, not 0"),
        (["--wrokers", "2"], "--wrokers"),
        (["--drain_seconds", "-1"], "--drain_seconds must be at least 0, not -1"),
        (["--drain_seconds", "nan"], "--drain_seconds must be a finite number"),
        (["--log_sample", "50"], "--log_sample must be between 0 and 1, not 50"),
        (["--log_sample", "nan"], "--log_sample must be a finite number"),
        (["--request_timeout_seconds", "inf"], "--request_timeout_seconds must be a finite number"),
        (["--faults", "errors=2"], "--faults is not understood: 2 is not a share between 0 and 1"),
    ],
)
def test_a_wrong_argument_ends_the_process_with_status_2_and_one_sentence(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(arguments, {})
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("python -m predictor: ")
    assert named in line


def test_a_wrong_variable_is_named_in_the_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse([], {"SABIA_WORKERS": "0"})
    assert caught.value.code == 2
    assert capsys.readouterr().err == "python -m predictor: SABIA_WORKERS must be at least 1, not 0.\n"


@given(st.sampled_from(NUMBERS), st.one_of(st.text(max_size=5), st.floats().map(str), st.integers().map(str)))
def test_any_text_is_a_number_within_bounds_or_status_2(name: str, text: str) -> None:
    variables = {f"SABIA_{name.upper()}": text}
    with contextlib.suppress(SystemExit):
        value = getattr(parse([], variables), name)
        assert isinstance(value, int | float)
        assert 0 <= value < float("inf")
        return
    with pytest.raises(SystemExit) as caught:
        parse([], variables)
    assert caught.value.code == 2


def test_help_names_every_setting_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["--help"], {})
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert all(f"--{field.name}" in text for field in fields(Settings))
    assert "largest body; past it 413 (default: 4 MiB)" in text
