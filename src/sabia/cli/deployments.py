"""Commands on the versions that a platform serves: deploy, undeploy, traffic, status, predict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import requests
import typer

from sabia.cli.context import FolderOption, JsonOption, ModelOption, NamespaceOption, choose
from sabia.cli.errors import CliError
from sabia.contract import names
from sabia.contract.layout import Version
from sabia.platforms import DEFAULT_FOLDER, Deployment, Status
from sabia.serving.inference.faults import parse as parse_faults
from sabia.terminal import print_json, print_line, print_table

DEFAULT_NAMESPACE = "sabia"


def deploy(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    versions: Annotated[list[str], typer.Argument(metavar="VERSION...", help="Its versions, one after the other.")],
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    replicas: Annotated[int | None, typer.Option(min=1, help="Pods of each; the manifest's number without it.")] = None,
    host: Annotated[
        str | None,
        typer.Option(help="Host name of the route that the first version makes; MODEL.example.com without it."),
    ] = None,
    faults: Annotated[str | None, typer.Option(help="Failures to inject, such as errors=0.05,after=200.")] = None,
    baseline: Annotated[
        bool, typer.Option("--baseline", help="A second copy of each, for plans that compare with one.")
    ] = False,
    seconds: Annotated[float, typer.Option("--timeout", help="Seconds to wait for each version.")] = 180,
    image: Annotated[str | None, typer.Option(help="An image of your own, FROM the full one, with your class.")] = None,
    model_class: Annotated[str | None, typer.Option(help="That class, as package.module:Class.")] = None,
    artifact: Annotated[
        bool, typer.Option("--artifact", help="Give your class the version's artifact, if it is an ArtifactModel.")
    ] = False,
) -> None:
    """Serve versions on a cluster.

    Each can be pinned and has no weight yet (see `sabia traffic`); the first version of a model gets all requests. A
    version that does not become ready gets none, and nothing else changes.
    """
    check_faults(faults or "")
    if (image is None) != (model_class is None) or (artifact and image is None):
        raise CliError("--image and --model-class go together, and --artifact with them.", 2)
    if faults and image is not None:
        raise CliError("--faults are injected by the server of artifacts; a class of your own has none.", 2)
    platform = choose(namespace, DEFAULT_FOLDER, model=model)
    options = Deployment(replicas, host, faults, baseline, seconds, image, model_class, artifact)
    for version in map(Version.parse, versions):
        deployed = platform.deploy(version, options)
        print_line(f"{model} {deployed}: ready")


def check_faults(text: str) -> None:
    """Refuse faults that no predictor would take.

    Raises:
        CliError: with what is wrong.
    """
    try:
        parse_faults(text)
    except ValueError as error:
        raise CliError(f"--faults: {error}.", 2) from error


def undeploy(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    version: Annotated[str, typer.Argument(help="The version.")],
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    quiet: Annotated[float, typer.Option(help="Seconds without any request, before it is deleted.")] = 15,
    seconds: Annotated[float, typer.Option("--timeout", help="Seconds to wait for that.")] = 120,
) -> None:
    """Remove a version from a cluster. Its artifact stays.

    It leaves the route first, and is deleted once no request has arrived for a while.
    """
    number = str(Version.parse(names.published(version)))
    number = names.baseline(number) if names.is_baseline(version) else number
    choose(namespace, DEFAULT_FOLDER, model=model).undeploy(number, quiet=quiet, seconds=seconds)
    print_line(f"{model} {number}: removed")


def traffic(
    weights: Annotated[
        list[str] | None, typer.Argument(metavar="[VERSION=WEIGHT]...", help="All weights; shown without it.")
    ] = None,
    mirror: Annotated[str | None, typer.Option(help="Send a copy of every request that is not pinned here.")] = None,
    no_mirror: Annotated[bool, typer.Option("--no-mirror", help="Mirror no requests.")] = False,
    folder: FolderOption = DEFAULT_FOLDER,
    namespace: NamespaceOption = None,
    model: ModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show or set the weights and the mirror.

    `sabia traffic 1.2=90 2.0=10` sets them; they are in force when the command returns.
    """
    if mirror and no_mirror:
        raise CliError("--mirror and --no-mirror contradict each other.", 2)
    desired = dict(map(_weight, weights or []))
    split = choose(namespace, folder, model=model).split()
    if mirror or no_mirror:
        split.set_mirror(str(Version.parse(mirror)) if mirror else None)
    in_force = split.set_weights(desired) if desired else split.weights()
    mirrored = split.mirror()
    if as_json:
        print_json({"weights": in_force, "mirror": mirrored})
        return
    print_table(["version", "weight"], in_force.items())
    if mirrored:
        print_line(f"requests are mirrored to {mirrored}")


def _weight(text: str) -> tuple[str, int]:
    version, separator, weight = text.partition("=")
    if not separator or not weight.isdecimal():
        raise CliError(f"{text!r} is not VERSION=WEIGHT, such as 2.0=10.", 2)
    return version, int(weight)


def status(
    folder: FolderOption = DEFAULT_FOLDER,
    namespace: NamespaceOption = None,
    model: ModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show versions, weights, readiness and requests. It shows every model unless one is named."""
    found = statuses(namespace, folder, model)
    if as_json:
        documents = [each.platform | {"versions": each.versions} for each in found]
        print_json(documents[0] if len(documents) == 1 else {"models": documents})
        return
    for each in found:
        print_status(each)


def statuses(namespace: str | None, folder: Path, model: str | None = None) -> list[Status]:
    """The status of a model; of each model of the platform when none is named."""
    platform = choose(namespace, folder, model=model)
    served = [] if model is not None else platform.models()
    if len(served) < 2:
        return [platform.status()]
    return [choose(namespace, folder, model=each).status() for each in served]


def print_status(status: Status) -> None:
    """Print what a platform serves, for people."""
    if not status.versions:
        for note in status.notes:
            print_line(note)
        return
    rows = [["?" if fact is None else fact for fact in version.values()] for version in status.versions]
    print_table(list(status.versions[0]), rows)
    for note in status.notes:
        print_line(note)


def predict(
    instances: Annotated[str, typer.Argument(help='JSON rows such as "[[1.0, …]]", or @FILE with a V1 body.')],
    version: Annotated[str | None, typer.Option("--version", help="Pin a version.")] = None,
    folder: FolderOption = DEFAULT_FOLDER,
    namespace: NamespaceOption = None,
    model: ModelOption = None,
    gateway: Annotated[
        str, typer.Option(envvar="SABIA_GATEWAY", help="URL of the cluster's inference gateway.")
    ] = "http://127.0.0.1:8080",
    as_json: JsonOption = False,
) -> None:
    """Send rows to the model through its gateway."""
    body = _body(instances)
    address = choose(namespace, folder, model=model).address(gateway)
    headers = address.headers | {"content-type": "application/json"} | ({names.PIN_HEADER: version} if version else {})
    try:
        response = requests.post(address.url, data=body, headers=headers, timeout=60)
    except requests.RequestException as error:
        raise CliError(f"The gateway does not respond ({type(error).__name__}).", 5) from error
    facts: dict[str, Any] = {"status": response.status_code, "version": response.headers.get(names.PIN_HEADER)}
    try:
        facts |= response.json()
    except ValueError:
        facts["error"] = response.text[:200]
    if not response.ok:
        raise CliError(f"{facts['status']}: {facts.get('error')}")
    if as_json:
        print_json(facts)
        return
    print_table(
        ["row", "prediction", "version"],
        [[at, value, facts["version"]] for at, value in enumerate(facts["predictions"])],
    )


def _body(instances: str) -> bytes:
    if instances.startswith("@"):
        try:
            return Path(instances[1:]).read_bytes()
        except OSError as error:
            raise CliError(f"{instances[1:]} cannot be read ({error.strerror}).", 2) from error
    try:
        rows = json.loads(instances)
    except ValueError as error:
        raise CliError("The rows are not JSON.", 2) from error
    return json.dumps(rows if isinstance(rows, dict) else {"instances": rows}).encode()
