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
            help="An ONNX file, an MLflow model directory, or a file of XGBoost (.ubj, .json), LightGBM (.lgb, .txt), "
            "CatBoost (.cbm) or skops; with --run-code a pickle (.pkl, .joblib).",
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
            "--target",
            help="What the model predicts; unless it is ONNX, the column of --reference that holds it, or the output "
            "that an MLflow signature names.",
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
    run_code: Annotated[
        bool,
        typer.Option(
            "--run-code",
            help="Load a model that is not data, such as a pickle: its code runs here, once; the version stays data.",
        ),
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Publish a model file of another tool as a version, once it gives the expected answers."""
    from sabia import api
    from sabia.publishing.importing.draft import choices_of

    choices = choices_of(primary=primary, roles=role or [], classes=classes, target=target)
    published = api.import_model(
        model,
        store=open_store(store, make=True),
        name=name,
        reference=reference,
        expected=expected,
        tolerance=tolerance,
        target=choices.target,
        primary=choices.primary,
        roles=choices.roles,
        classes=choices.classes,
        run_code=run_code,
        progress=log,
    )
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
