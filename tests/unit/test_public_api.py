"""`import sabia`: the names that a user may rely on."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sabia
from sabia.contract.errors import InvalidName
from sabia.contract.layout import Version, version_prefix
from sabia.registry import aliases
from sabia.registry.errors import AliasNotFound, MissingManifest, VersionNotFound
from sabia.registry.verification import Artifact
from sabia.serving.errors import InvalidSetting
from sabia.store.errors import InvalidStoreUrl, StoreRefused
from sabia.store.objects import Store
from tests.conftest import MODEL

ROWS = np.ones((2, 30))
# The modules that `import sabia` loads, Python's own excepted.
LOADED = """
import sys
before = set(sys.modules)
import sabia
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))
"""


def test_all_names_exist_and_no_other_is_public() -> None:
    tree = ast.parse(Path(str(sabia.__file__)).read_text())
    typed = next(node for node in tree.body if isinstance(node, ast.If))
    names = {
        alias.asname or alias.name for node in typed.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert names | {"__version__"} == set(sabia.__all__) == set(dir(sabia))
    assert all(hasattr(sabia, name) for name in sabia.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'undeploy'"):
        _ = sabia.undeploy  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", [name for name in sabia.__all__ if not name.startswith("_")])
def test_every_public_name_says_what_it_is(name: str) -> None:
    assert inspect.getdoc(getattr(sabia, name))
    assert f"`{name}" in (Path(__file__).parents[2] / "docs" / "python.md").read_text()


def test_importing_the_package_loads_no_library() -> None:
    done = subprocess.run([sys.executable, "-P", "-c", LOADED], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["sabia"]


def test_a_version_is_loaded_by_its_url_number_and_alias(published: Store, store: Store, logistic: Artifact) -> None:
    for entry in published.list(version_prefix(MODEL, Version(2, 0))):
        store.create(entry.key, published.get(entry.key))
    aliases.point(store, MODEL, "champion", Version(2, 0), at="2026-01-01T00:00:00Z")
    models = [
        sabia.load(published.uri(version_prefix(MODEL, Version(2, 0)))),
        sabia.load(published, MODEL, "2.0"),
        sabia.load(published.url, MODEL, Version(2, 0)),
        sabia.load(store, MODEL, "champion"),
    ]
    assert {(model.name, model.version) for model in models} == {(MODEL, "2.0")}
    assert {model.content_digest for model in models} == {logistic.manifest.digest}
    scalar = [model for model in models if isinstance(model, sabia.Model)]
    assert len(scalar) == len(models)
    assert len({tuple(model.predict(ROWS).tolist()) for model in scalar}) == 1


def test_what_cannot_be_loaded_is_an_error_with_its_reason(published: Store, store: Store) -> None:
    for version, kind in (("9.9", VersionNotFound), ("champion", AliasNotFound), ("1.x", InvalidName)):
        with pytest.raises(kind):
            sabia.load(published, MODEL, version)
    with pytest.raises(MissingManifest):
        sabia.load(store)
    with pytest.raises(InvalidStoreUrl):
        sabia.load("no url")
    with pytest.raises(TypeError, match="belong together"):
        sabia.load(published, MODEL)


def test_a_store_is_opened_by_its_url(tmp_path: Path) -> None:
    url = (tmp_path / "new").as_uri()
    with pytest.raises(StoreRefused):
        sabia.open_store(url)
    assert sabia.open_store(url, make=True).create("a", b"1")
    assert sabia.open_store(url).get("a") == b"1"


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"http_prot": 1}, "http_prot is not a setting"),
        ({"http_port": -1}, "between 0 and"),
        ({"workers": 1.5}, "whole"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_is_loaded(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidSetting, match=problem) as caught:
        sabia.serve("file:///nowhere", **settings)
    assert caught.value.exit_code == 2
