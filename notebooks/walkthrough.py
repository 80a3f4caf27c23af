import marimo

app = marimo.App(width="medium")


@app.cell
def _():
    import marimo as mo

    mo.md(
        """
        # One model, two versions, one server

        Train, publish, serve, predict and monitor. All of it is also a command: `sabia train`, `sabia serve`, `sabia predict`,
        `sabia report`.
        """
    )
    return (mo,)


@app.cell
def _():
    import tempfile
    from pathlib import Path

    from sabia.store.objects import Store
    from sabia.training.recipe import BREAST_CANCER, read
    from sabia.training.run import run

    folder = Path(tempfile.mkdtemp(prefix="sabia-notebook-"))
    store = Store.open((folder / "store").as_uri(), make=True)
    recipe = read(BREAST_CANCER)
    published = [done.manifest for _, done in run(recipe, store)]
    [(each.version, each.methods.estimator[-1], round(each.metrics.values["accuracy"], 4)) for each in published]
    return folder, published, recipe, store


@app.cell
def _(mo):
    mo.md(
        """
        A version number shows the change: new state is a new MINOR, new methods are a new MAJOR. Published versions cannot be
        overwritten; publishing the same content again returns the existing version.
        """
    )
    return


@app.cell
def _(published):
    older, newer = (next(each for each in published if each.version == number) for number in ("1.2", "2.0"))
    {"same methods": older.methods.fingerprint == newer.methods.fingerprint, "parent of 2.0": newer.parent}
    return


@app.cell
def _(folder, recipe, store):
    import os
    import subprocess
    import sys

    from sabia.local.process import answers, free_ports

    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [
            sys.executable,
            "-P",
            "-m",
            "sabia",
            "serve",
            "--source",
            store.uri(f"models/{recipe.model}/2.0/"),
            "--host",
            "127.0.0.1",
        ]
        + ["--http_port", str(port), "--log", store.url, "--log_seconds", "1", "--log_server", "notebook"],
        env=os.environ | {"SABIA_LOG_SPOOL": str(folder / "spool")},
        stderr=subprocess.DEVNULL,
    )
    while not answers(f"{url}/v2/health/ready", seconds=1) and server.poll() is None:
        pass
    {"serving": f"{recipe.model} 2.0", "listening": server.poll() is None}
    return server, url


@app.cell
def _(recipe, url):
    import requests

    from sabia.training.datasets import load, split

    held_out = split(load(recipe.dataset), held_out=recipe.held_out, seed=recipe.seed).held_out
    responses = [
        requests.post(f"{url}/v1/models/{recipe.model}:predict", json={"instances": [row]}, timeout=10)
        for row in held_out.features.tolist()
    ]
    predictions = [response.json()["predictions"][0] for response in responses]
    ids = [response.headers["x-request-id"] for response in responses]
    {"requests": len(predictions), "correct": sum((p >= 0.5) == bool(t) for p, t in zip(predictions, held_out.target))}
    return held_out, ids, predictions


@app.cell
def _(held_out, predictions):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 2.6), layout="constrained")
    for label, name in ((0, "malignant"), (1, "benign")):
        axes.hist([p for p, t in zip(predictions, held_out.target) if t == label], bins=20, alpha=0.6, label=name)
    axes.set_xlabel("predicted probability of benign")
    axes.set_ylabel("rows")
    axes.legend()
    figure
    return


@app.cell
def _(mo):
    mo.md("Why? A linear version returns the contribution of each feature to its score.")
    return


@app.cell
def _(held_out, recipe, url):
    import requests as _requests

    explained = _requests.post(
        f"{url}/v1/models/{recipe.model}:explain", json={"instances": [held_out.features[0].tolist()]}, timeout=10
    ).json()["explanations"][0]
    sorted(explained["contributions"].items(), key=lambda item: -abs(item[1]))[:5]
    return


@app.cell
def _(folder, held_out, ids, recipe, server, store):
    from datetime import UTC, datetime, timedelta

    from sabia.monitoring.labels import add
    from sabia.monitoring.report import generate

    # A graceful shutdown writes the log that is still in memory.
    server.terminate()
    exit_code = server.wait(timeout=60)
    path = folder / "labels.csv"
    path.write_text("request_id,label\n" + "".join(f"{i},{t}\n" for i, t in zip(ids, held_out.target)))
    added = add(store, recipe.model, path)
    today = datetime.now(UTC).date()
    (report,) = generate(store, recipe.model, today - timedelta(days=1), today).versions
    {
        "exit code": exit_code,
        "labels": added.labels,
        "logged requests": report.requests,
        "accuracy": report.quality.accuracy,
        "drifted": report.drifted,
    }
    return


if __name__ == "__main__":
    app.run()
