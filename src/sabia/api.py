"""The functions of the public API that open stores, load versions and serve them. Import them from `sabia`."""

from __future__ import annotations

from typing import Any

from sabia.contract.layout import Version, version_prefix
from sabia.registry.aliases import find
from sabia.registry.verification import read_artifact, read_version
from sabia.serving.inference.loading import open_model
from sabia.serving.inference.typed import Loaded
from sabia.store.objects import Store


def open_store(url: str, *, make: bool = False) -> Store:
    """The store at a URL: `s3://`, `gs://`, `az://`, `file://` or `memory://`.

    Credentials and endpoints come from the standard environment variables of each cloud. With `make`, the folder of a
    `file://` URL is created.

    Raises:
        SabiaError: the URL is of another form, or the store cannot be opened.
    """
    return Store.open(url, make=make)


def load(source: str | Store, name: str | None = None, version: str | Version | None = None) -> Loaded:
    """A published version, ready to predict: the class that computes the server's predictions.

    Every file is verified before it is used. Of a version whose inputs are floats and whose output is one number,
    `model.predict(rows)` takes float64 rows of shape (rows, columns) and returns predictions of shape (rows,); of any
    other, it takes columns by input name and returns arrays by output name.

    Args:
        source: the URL of one version, such as `s3://models/models/churn/1.2/`; or a store, or its URL, with:
        name: the model's name.
        version: its number, such as "1.2", or an alias.

    Raises:
        SabiaError: the version does not exist, is not what was published, or cannot be opened.
    """
    if name is None and version is None:
        return open_model(read_artifact(_store(source)))
    store, name, number = _version(source, name, version)
    return open_model(read_version(store, name, number))


def serve(
    source: Any,
    name: str | None = None,
    version: str | Version | None = None,
    **settings: str | float | None,
) -> None:
    """Serve a version until SIGTERM or SIGINT, as `sabia serve` does: V1 and V2 over HTTP, and gRPC if it has a port.

    It blocks, and listens on 127.0.0.1 unless `host` is set.

    Args:
        source: as in `load`; or a `kserve.Model` of your own, or a list of them, without a name and a version. The
            server loads it in a process of its own, unless it is ready.
        name: as in `load`.
        version: as in `load`.
        settings: `http_port=8080`, `workers=4`, ...: the settings in docs/serving.md, by their names.

    Raises:
        SabiaError: the version cannot be served, or a setting is unknown or out of bounds.
    """
    from sabia.serving.process import serve as serve_forever  # noqa: PLC0415  the server's libraries
    from sabia.serving.settings import from_values  # noqa: PLC0415

    if not isinstance(source, str | Store):
        from sabia.serving.custom import server, sources  # noqa: PLC0415

        made = [sources.from_object(each) for each in (source if isinstance(source, list | tuple) else [source])]
        server.serve(made, from_values({"host": "127.0.0.1"} | settings))
        return
    if name is None and version is None:
        url = source if isinstance(source, str) else source.url
    else:
        store, name, number = _version(source, name, version)
        url = store.uri(version_prefix(name, number))
    serve_forever(from_values({"host": "127.0.0.1"} | settings | {"source": url}))


def _store(source: str | Store) -> Store:
    return Store.open(source) if isinstance(source, str) else source


def _version(source: str | Store, name: str | None, version: str | Version | None) -> tuple[Store, str, Version]:
    if name is None or version is None:
        raise TypeError("name and version belong together: a version is the one of a model, or source is its URL")
    store = _store(source)
    if isinstance(version, Version):
        return store, name, version
    return store, name, find(store, name, version)
