from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from obstore import exceptions

from sabia.store.errors import InvalidStoreUrl, KeyNotFound, StoreError, StoreRefused, StoreUnavailable
from sabia.store.objects import Store, translate

LIBRARY = [kind for _, kind in inspect.getmembers(exceptions, inspect.isclass) if issubclass(kind, BaseException)]


@pytest.mark.parametrize("kind", LIBRARY, ids=lambda kind: kind.__name__)
def test_every_error_of_the_library_becomes_a_store_error_without_its_text(kind: type[Exception]) -> None:
    found = translate(kind("secret-key /home/someone"), "reading 'a'")
    assert isinstance(found, StoreError)
    assert "reading 'a'" in str(found)
    assert "secret" not in str(found)
    assert "/home" not in str(found)


def test_a_programming_error_stays_what_it_is() -> None:
    error = TypeError("ours")
    assert translate(error, "reading") is error


@pytest.mark.parametrize("url", ["", "models", "ftp://host/x", "s3://", "gs:///x", "file://host/x", "file:relative"])
def test_a_url_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(InvalidStoreUrl, match="store URL"):
        Store.open(url)


def test_a_missing_folder_is_refused_unless_it_is_to_be_made(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(StoreRefused, match="does not exist"):
        Store.open(missing.as_uri())
    Store.open(missing.as_uri(), make=True).create("a", b"1")
    assert Store.open(missing.as_uri()).get("a") == b"1"


def test_a_dead_endpoint_is_unavailable_and_the_error_holds_no_secret() -> None:
    environment = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "hush",
        "AWS_REGION": "us-east-1",
    }
    store = Store.open("s3://bucket", environment=environment)
    with pytest.raises(StoreUnavailable) as caught:
        store.create("a", b"1")
    assert "hush" not in str(caught.value)


def test_a_missing_key_is_not_found(store: Store) -> None:
    with pytest.raises(KeyNotFound, match="'nothing/here'"):
        store.get("nothing/here")


def test_a_folder_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError):
        Store.open((tmp_path / "file").as_uri(), make=True)
