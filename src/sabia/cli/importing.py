"""The command that publishes a model file of another tool: import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sabia.cli.context import JsonOption, StoreOption, open_store
from sabia.terminal import log, print_json, print_line


def import_model(
    model: Annotated[
        Path,
        typer.Argument(
            help="An ONNX file, an MLflow model directory of the ONNX flavor, or a file of XGBoost (.ubj, .json), "
            "LightGBM (.lgb, .txt), CatBoost (.cbm) or skops.",
            exists=True,
        ),
    ],
    name: Annotated[str, typer.Option("--name", help="Name of the model in the store.")],
    reference: Annotated[
        Path,
        typer.Option(
            "--reference",
            help="Training rows: Parquet, CSV or .npz, with a column for each input, or for each feature of a matrix.",
            exists=True,
            dir_okay=False,
        ),
    ],
    expected: Annotated[
        Path | None,
        typer.Option(
            "--expected",
            help="The right answers for these rows, with a column for each output; refused when the model differs.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option("--tolerance", help="Largest distance to an expected number.", min=0.0)
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target", help="What the model predicts; unless it is ONNX, the column of --reference that holds it."
        ),
    ] = None,
    primary: Annotated[
        str | None, typer.Option("--primary", help="The output that versions are compared by, where several are.")
    ] = None,
    role: Annotated[
        list[str] | None, typer.Option("--role", help="OUTPUT=ROLE, where the graph does not show it; repeatable.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option("--classes", help="The classes in the model's order, divided by commas.")
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Publish a model file of another tool as a version, once it gives the expected answers."""
    from sabia.publishing.drafting import newest_bins
    from sabia.publishing.importing import draft, session
    from sabia.registry.claim import publish
    from sabia.serving.inference.loading import check_draft

    opened = open_store(store, make=True)
    with draft.imported(
        name,
        model,
        reference=reference,
        expected=expected,
        choices=draft.choices_of(primary=primary, roles=role or [], classes=classes, target=target),
        tolerance=session.TOLERANCE if tolerance is None else tolerance,
        bins=newest_bins(opened, name),
        log=log,
    ) as found:
        check_draft(found)
        published = publish(opened, found)
    manifest = published.manifest
    if as_json:
        print_json(
            {
                "model": name,
                "version": manifest.version,
                "change": published.change,
                "uri": published.uri,
                "digest": manifest.digest,
                "signature": manifest.signature,
            }
        )
        return
    for each in manifest.inputs:
        log(f"input {each.name}: {each.dtype} {each.shape}{' or null' if each.nullable else ''}")
    for output in manifest.outputs:
        mark = ", the primary output" if output.name == manifest.primary else ""
        log(f"output {output.name}: {output.dtype} {output.shape}, {output.role}{mark}")
    print_line(f"{name} {manifest.version}: {published.change}")
