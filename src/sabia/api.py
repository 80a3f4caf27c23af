"""The functions of the public API that open stores, publish, load and serve versions. Import them from `sabia`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sabia.contract.layout import Version, version_prefix
from sabia.registry import claim as claims
from sabia.registry.aliases import find
from sabia.registry.claim import Draft, Published
from sabia.registry.verification import read_artifact, read_version
from sabia.serving.inference.loading import check_draft, open_model
from sabia.serving.inference.typed import Loaded
from sabia.store.objects import Store

if TYPE_CHECKING:
    from sabia.contract.manifest import Dataset, Task
    from sabia.contract.signature import Signature
    from sabia.publishing.drafting import Progress, Rows
    from sabia.publishing.model import Floor


def open_store(url: str, *, make: bool = False) -> Store:
    """The store at a URL: `s3://`, `gs://`, `az://`, `file://` or `memory://`.

    Credentials and endpoints come from the standard environment variables of each cloud. With `make`, the folder of a
    `file://` URL is created.

    Raises:
        SabiaError: the URL is of another form, or the store cannot be opened.
    """
    return Store.open(url, make=make)


def publish(  # noqa: PLR0913  what is known of a model
    estimator: Any,
    inputs: Any,
    target: Any,
    *,
    store: str | Store | None = None,
    name: str,
    held_out: Rows | float | None = None,
    target_name: str | Sequence[str] | None = None,
    signature: Signature | None = None,
    task: Task | None = None,
    floor: Mapping[str, float] | Floor | None = None,
    dataset: Dataset | str | None = None,
    units: Mapping[str, str] | None = None,
    hyper_params: Mapping[str, Any] | None = None,
    code_major: int = 1,
    created_at: str | None = None,
    progress: Progress | None = None,
    tolerance: float | None = None,
) -> Published:
    """Publish a fitted estimator as a version: converted to ONNX, compared with itself, measured, numbered.

    The number follows from the content: other methods than the newest version's are the next MAJOR, new state is the
    next MINOR, and content that the store holds keeps its number.

    Args:
        estimator: of scikit-learn (a pipeline too), XGBoost, LightGBM or CatBoost; it need not be fitted when
            `held_out` is a share.
        inputs: the rows that it was trained on: a DataFrame of pandas or polars, an Arrow table, an array of shape
            (rows, columns), a dict of arrays, or a list of texts.
        target: of the same rows, shape (rows,), or (rows, targets).
        store: an open store, or its URL; without it, the one that `SABIA_STORE` names, else the running stack's.
        name: the model's name.
        held_out: rows that training did not see, as (inputs, target); metrics and parity are measured on them. A share
            such as 0.2 sets that part aside, fits a copy of the estimator on the rest, and publishes the copy. Without
            it, metrics are those of the training rows, and the card says so.
        target_name: what is predicted; by default the name of the target's series.
        signature: instead of the one inferred. `sabia.draft(...).signature` has that one, to be changed.
        task: "binary", "multi-class", "regression" or "multi-output"; by default, from estimator and target. "binary"
            for a regressor of 0 and 1 publishes its score, clipped to a probability.
        floor: the least of metrics, by name, and the most of errors: `{"roc_auc": 0.9, "log_loss": 0.3}`.
        dataset: where the rows come from.
        units: of the columns, by name.
        hyper_params: by default, the estimator's parameters that are not its defaults.
        code_major: raise it when the same graph is to count as other methods.
        created_at: RFC 3339, UTC; now without it.
        progress: called with a line for each step, such as `print`.
        tolerance: the largest distance between the served model and the estimator, of 1 or of the largest prediction.

    Raises:
        SabiaError: the estimator cannot be converted truly, misses its floor, has names that cannot be served, or the
            store failed. Nothing was numbered.
    """
    from sabia.publishing.drafting import draft, newest_bins  # noqa: PLC0415  an extra

    opened = _default_store() if store is None else _store(store)
    drafted = draft(
        estimator,
        inputs,
        target,
        name=name,
        held_out=held_out,
        target_name=target_name,
        signature=signature,
        task=task,
        floor=floor,
        dataset=dataset,
        units=units,
        hyper_params=hyper_params,
        code_major=code_major,
        created_at=created_at,
        bins=newest_bins(opened, name),
        progress=progress,
        tolerance=tolerance,
    )
    published = claim(opened, drafted)
    if progress is not None:
        progress(f"{name} {published.manifest.version}: {published.change}")
    return published


def claim(store: Store, draft: Draft) -> Published:
    """Open a draft as a server does, and give it a number; or find the version that holds the same content.

    Raises:
        SabiaError: the draft cannot be served or read back, or the store failed. Nothing was numbered.
    """
    check_draft(draft)
    return claims.publish(store, draft)


def import_model(  # noqa: PLR0913  what is known of a model
    path: str | Path,
    *,
    store: str | Store | None = None,
    name: str,
    reference: Any,
    expected: Any = None,
    tolerance: float | None = None,
    target: str | None = None,
    primary: str | None = None,
    roles: Mapping[str, str] | None = None,
    classes: Sequence[str | int] = (),
    run_code: bool = False,
    progress: Progress | None = None,
) -> Published:
    """Publish a model file of another tool as a version, once it gives the expected answers.

    ONNX is published as it is; anything else is loaded and converted, as `publish` does.

    Args:
        path: an ONNX file, with its weights in it or beside it; an MLflow model directory; a file of XGBoost (`.ubj`,
            `.json`), LightGBM (`.lgb`, `.txt`), CatBoost (`.cbm`) or skops (`.skops`); a pickle (`.pkl`, `.joblib`).
        store: an open store, or its URL; without it, the one that `SABIA_STORE` names, else the running stack's.
        name: the model's name.
        reference: training rows: the path of a Parquet, CSV or .npz file, a DataFrame of pandas or polars, an Arrow
            table, or arrays by name. They have a column for each input, or for each feature of a single matrix.
        expected: the right answers for these rows, likewise, with a column for each output.
        tolerance: the largest distance to an expected number, or share of it where it is larger than 1; 1e-4 by
            default.
        target: what the model predicts. Unless the model is ONNX, the column of `reference` that holds it, which is not
            needed where an MLflow signature names one output.
        primary: the output of an ONNX model that versions are compared by, where there are several.
        roles: of its outputs, by name, where the graph does not show them.
        classes: of its outputs, in the model's order.
        run_code: whether a pickle, an MLflow model that is one, or a skops file of other types than data may be loaded.
            That runs its code in this process, once; the version itself stays data.
        progress: called with a line for each step, such as `print`.

    Raises:
        SabiaError: the model or the rows cannot be read, do not fit each other, or give other answers; the model cannot
            be converted truly, or runs code; or the store failed. Nothing was numbered.
    """
    from sabia.publishing.drafting import newest_bins  # noqa: PLC0415  an extra
    from sabia.publishing.importing import draft, interface, session  # noqa: PLC0415

    by_name = {output: interface.check_role(role) for output, role in (roles or {}).items()}
    opened = _default_store() if store is None else _store(store)
    with draft.imported(
        name,
        Path(path),
        reference=reference,
        expected=expected,
        choices=interface.Choices(primary, by_name, list(classes), target),
        tolerance=session.TOLERANCE if tolerance is None else tolerance,
        bins=newest_bins(opened, name),
        run_code=run_code,
        log=progress or (lambda _: None),
    ) as drafted:
        return claim(opened, drafted)


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


def _default_store() -> Store:
    from sabia.platforms.store import open_store as of_platform  # noqa: PLC0415  only where a stack may run

    return of_platform(os.environ.get("SABIA_STORE"))


def _store(source: str | Store) -> Store:
    return Store.open(source) if isinstance(source, str) else source


def _version(source: str | Store, name: str | None, version: str | Version | None) -> tuple[Store, str, Version]:
    if name is None or version is None:
        raise TypeError("name and version belong together: a version is the one of a model, or source is its URL")
    store = _store(source)
    if isinstance(version, Version):
        return store, name, version
    return store, name, find(store, name, version)
