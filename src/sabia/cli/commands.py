"""Every command: where it is defined, its line in `sabia --help`, and the extra that brings its libraries.

The table is static, so that `sabia --help` imports no command; a test compares each line with the command's docstring.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Command:
    """One command, or one group of commands.

    Attributes:
        module: the module that defines it.
        name: its function there, or its `typer.Typer`.
        extra: the extra whose libraries it needs beside those that are always installed; None: nothing beside them.
        summary: the first sentence of its help; a command without one is started by others, and not listed.
    """

    module: str
    name: str
    extra: str | None
    summary: str


COMMANDS = {
    "train": Command("sabia.cli.versions", "train", "training", "Train and publish the versions of a recipe."),
    "import": Command(
        "sabia.cli.importing",
        "import_model",
        "training",
        "Publish a model file of another tool as a version, once it gives the expected answers.",
    ),
    "versions": Command("sabia.cli.versions", "versions", None, "List the versions of a model, or of every model."),
    "show": Command("sabia.cli.versions", "show", None, "Show one version: its card, or its manifest with --json."),
    "diff": Command(
        "sabia.cli.versions",
        "diff",
        None,
        "Compare two versions: methods, data, hyper-parameters, parameters, metrics.",
    ),
    "alias": Command("sabia.cli.versions", "alias", None, "Show or move the aliases of a model."),
    "doctor": Command("sabia.cli.versions", "doctor", None, "Verify every version of a model."),
    "serve": Command("sabia.serving.command", "main", "log", "Serve one version over HTTP and gRPC until Ctrl-C."),
    "fetch": Command("sabia.local.fetch", "main", "local", ""),
    "up": Command("sabia.cli.stack", "up", "local", "Start the platform on this machine: store, predictors, gateway."),
    "down": Command(
        "sabia.cli.stack",
        "down",
        "local",
        "Stop the platform on this machine; its objects stay for the next `sabia up`.",
    ),
    "deploy": Command("sabia.cli.deployments", "deploy", "kubernetes", "Serve versions on a cluster."),
    "undeploy": Command("sabia.cli.deployments", "undeploy", "kubernetes", "Remove a version from a cluster."),
    "status": Command(
        "sabia.cli.deployments", "status", "kubernetes", "Show versions, weights, readiness and requests."
    ),
    "traffic": Command("sabia.cli.deployments", "traffic", "kubernetes", "Show or set the weights and the mirror."),
    "predict": Command("sabia.cli.deployments", "predict", "kubernetes", "Send rows to the model through its gateway."),
    "rollout": Command("sabia.cli.rollouts", "app", "kubernetes", "Roll a version out by evidence."),
    "evidence": Command(
        "sabia.cli.evidence",
        "evidence",
        None,
        "Compute the verdict on a history of counters: harm, safe or undecided, after each line.",
    ),
    "operator": Command("sabia.cli.operator", "operator", "kubernetes", "Carry out the Rollouts of a namespace."),
    "report": Command(
        "sabia.cli.monitoring",
        "report",
        "monitoring",
        "Write the report of a model: traffic, rollouts, quality, drift; the same as JSON with --json.",
    ),
    "drift": Command("sabia.cli.monitoring", "drift", "monitoring", "Fail when a served version has drifted."),
    "dash": Command(
        "sabia.cli.monitoring",
        "dash",
        "monitoring",
        "Serve the live page: versions, weights, rollouts with their evidence, drift.",
    ),
    "labels": Command("sabia.cli.monitoring", "labels", "monitoring", "Add labels: the true values of predictions."),
    "export": Command("sabia.cli.monitoring", "export", "monitoring", "Export the log and the labels to other tools."),
    "demo": Command(
        "sabia.cli.demo",
        "demo",
        "demo",
        "Run everything once on real servers, checked: training, serving, traffic, rollouts, report.",
    ),
}

DESCRIPTION = "Publish models as numbered versions, serve each of them, and move traffic by evidence."
EXIT_CODES = """\
Exit codes: 0 success; 1 the command failed, or a check did not hold; 2 the command line is wrong; 3 the model, version,
alias, route or key does not exist; 4 stored data is not what was published; 5 the store, the platform or the cluster is
unavailable."""


def help_text() -> str:
    """What `sabia --help` prints."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items() if command.summary]
    options = ["  --version  Print the version.", "  --help     Print this text."]
    return "\n".join(
        [
            "Usage: sabia COMMAND [ARGS]...",
            "",
            DESCRIPTION,
            "",
            "Commands (`sabia COMMAND --help` describes one):",
            *lines,
            "",
            "Options:",
            *options,
            "",
            EXIT_CODES,
        ]
    )
