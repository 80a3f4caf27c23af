"""No proxy stands between the parts of one machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sabia.loopback import OWN, exempt_loopback

DEAD = "http://127.0.0.1:9"
HOSTS = st.lists(st.sampled_from(["example.com", ".corp", "10.0.0.0/8", "localhost", "127.0.0.1"]), max_size=4).map(
    ",".join
)


@given(
    proxy=st.sampled_from(["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
    capitals=HOSTS | st.none(),
    small=HOSTS | st.none(),
)
def test_what_was_exempt_stays_so_and_this_machine_is_added(
    proxy: str, capitals: str | None, small: str | None
) -> None:
    environment = {proxy: DEAD}
    environment |= {name: value for name, value in (("NO_PROXY", capitals), ("no_proxy", small)) if value is not None}
    exempt_loopback(environment)
    given_ = {part for value in (capitals, small) if value for part in value.split(",") if part}
    assert environment["NO_PROXY"] == environment["no_proxy"]
    assert {*environment["NO_PROXY"].split(",")} == given_ | {*OWN}
    before = dict(environment)
    exempt_loopback(environment)
    assert environment == before


def test_without_a_proxy_nothing_changes() -> None:
    environment = {"NO_PROXY": "example.com", "HTTP_PROXY": ""}
    exempt_loopback(environment)
    assert environment == {"NO_PROXY": "example.com", "HTTP_PROXY": ""}


def test_everything_is_exempt_where_it_was() -> None:
    environment = {"HTTP_PROXY": DEAD, "NO_PROXY": "*"}
    exempt_loopback(environment)
    assert (environment["NO_PROXY"], environment["no_proxy"]) == ("*", "*")


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<ListBucketResult></ListBucketResult>")

    def log_message(self, *_: object) -> None:
        """Print nothing."""


STORE = """
from sabia.store.objects import Store
keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"}
list(Store.open("s3://bucket", environment=keys | {"AWS_ENDPOINT_URL": url}, patience=5).list("x"))
print(200)
"""


@pytest.mark.parametrize(
    "code",
    [
        "import requests; print(requests.get(url, timeout=9).status_code)",
        "import urllib.request; print(urllib.request.urlopen(url, timeout=9).status)",
        STORE,
    ],
    ids=["requests", "urllib", "the store"],
)
def test_every_library_that_is_used_reaches_this_machine_past_a_dead_proxy(code: str) -> None:
    with HTTPServer(("127.0.0.1", 0), _Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = json.dumps(f"http://127.0.0.1:{server.server_port}/")
        environment = os.environ | dict.fromkeys(["HTTP_PROXY", "http_proxy", "ALL_PROXY", "https_proxy"], DEAD)
        done = subprocess.run(
            [sys.executable, "-c", f"import sabia\nurl = {url}\n{code}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=environment,
        )
        server.shutdown()
    assert done.stdout.strip() == "200", done.stderr
