"""Commands on what is deployed, here or on a cluster: deploy, undeploy, traffic, status, predict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import requests
import typer

from sabia.cli.context import FOLDER, FolderOption, JsonOption, ModelOption, NamespaceOption
from sabia.cli.errors import CliError
from sabia.cli.output import console, print_json, print_table, say
from sabia.contract import names
from sabia.contract.layout import Version
from sabia.kubernetes import deployment
from sabia.kubernetes import route as routes
from sabia.kubernetes.cluster import Cluster, Deployed
from sabia.kubernetes.errors import NotCounted
from sabia.kubernetes.httproute import HttpRouteSplit
from sabia.local import stack as stacks
from sabia.local.split import EnvoySplit
from sabia.rollout.ports import Split
from sabia.serving.inference.faults import parse as parse_faults

ClusterOption = Annotated[
    str,
    typer.Option("--namespace", "-n", envvar="SABIA_NAMESPACE", help="Where, on the cluster that KUBECONFIG names."),
]
NAMESPACE = "sabia"


def deploy(
    model: Annotated[str, typer.Argument(help="The model's name.")],
    versions: Annotated[list[str], typer.Argument(metavar="VERSION...", help="Its versions, one after the other.")],
    namespace: ClusterOption = NAMESPACE,
    replicas: Annotated[int | None, typer.Option(min=1, help="Pods of each; the manifest's number without it.")] = None,
    host: Annotated[
        str | None,
        typer.Option(help="Host name of the route that the first version makes; MODEL.example.com without it."),
    ] = None,
    faults: Annotated[
        str | None, typer.Option(help="What is to go wrong on purpose, such as errors=0.05,after=200.")
    ] = None,
    baseline: Annotated[
        bool, typer.Option("--baseline", help="A second copy of each, for plans that compare with one.")
    ] = False,
    seconds: Annotated[float, typer.Option("--timeout", help="Seconds to wait for each version.")] = 180,
) -> None:
    """Serve versions on a cluster.

    Each can be pinned and has no weight yet (see `sabia traffic`); the first version of a model gets all requests. A
    version that does not become ready gets none, and nothing else changes.
    """
    check_faults(faults or "")
    cluster = Cluster.connect(namespace)
    for number in map(Version.parse, versions):
        documents = deployment.documents(
            model, number, namespace=namespace, replicas=replicas, faults=faults, baseline=baseline
        )
        deployed = deployment.deploy(cluster, documents, seconds=seconds, say=say, host=host)
        console.print(f"{deployed.model} {deployed.version}: ready")


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
    model: Annotated[str, typer.Argument(help="The model's name.")],
    version: Annotated[str, typer.Argument(help="The version.")],
    namespace: ClusterOption = NAMESPACE,
    quiet: Annotated[float, typer.Option(help="Seconds without a request that must have been seen.")] = 15,
    seconds: Annotated[float, typer.Option("--timeout", help="Seconds to wait for that.")] = 120,
) -> None:
    """Remove a version from a cluster. Its artifact stays.

    It leaves the route first, and is deleted once no request has arrived for a while.
    """
    number = str(Version.parse(names.published(version)))
    number = names.baseline(number) if names.is_baseline(version) else number
    silence = deployment.Silence(quiet, seconds)
    deployment.undeploy(Cluster.connect(namespace), model, number, silence, say=say)
    console.print(f"{model} {number}: removed")


def traffic(
    weights: Annotated[
        list[str] | None, typer.Argument(metavar="[VERSION=WEIGHT]...", help="The whole split; shown without it.")
    ] = None,
    mirror: Annotated[str | None, typer.Option(help="Send a copy of every request without a pin here too.")] = None,
    no_mirror: Annotated[bool, typer.Option("--no-mirror", help="Send copies nowhere.")] = False,
    folder: FolderOption = FOLDER,
    namespace: NamespaceOption = None,
    model: ModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show or set the weights and the mirror.

    `sabia traffic 1.2=90 2.0=10` sets them; they are in force when the command returns.
    """
    if mirror and no_mirror:
        raise CliError("--mirror and --no-mirror contradict each other.", 2)
    wanted = dict(map(_weight, weights or []))
    split = _split(folder, namespace, model)
    if mirror or no_mirror:
        split.set_mirror(str(Version.parse(mirror)) if mirror else None)
    found, copied = (split.set_weights(wanted) if wanted else split.weights()), split.mirror()
    if as_json:
        print_json({"weights": found, "mirror": copied})
        return
    print_table(["version", "weight"], found.items())
    if copied:
        console.print(f"copies go to {copied}")


def _weight(text: str) -> tuple[str, int]:
    version, separator, weight = text.partition("=")
    if not separator or not weight.isdecimal():
        raise CliError(f"{text!r} is not VERSION=WEIGHT, such as 2.0=10.", 2)
    return version, int(weight)


def _split(folder: Path, namespace: str | None, model: str | None) -> Split:
    if namespace is None:
        state = stacks.running(folder)
        return EnvoySplit.of(stacks.gateway_of(folder, state), state)
    cluster = Cluster.connect(namespace)
    return HttpRouteSplit(cluster, model or _only_model(cluster))


def _only_model(cluster: Cluster) -> str:
    models = cluster.models()
    if not models:
        raise CliError(f"Namespace {cluster.namespace} serves no model.", 3)
    if len(models) > 1:
        raise CliError(f"Namespace {cluster.namespace} has {', '.join(models)}; --model says which.", 2)
    return models[0]


def status(
    folder: FolderOption = FOLDER,
    namespace: NamespaceOption = None,
    model: ModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show versions, weights, readiness and requests."""
    if namespace is None:
        print_stack(folder, as_json=as_json)
        return
    cluster = Cluster.connect(namespace)
    name = model or _only_model(cluster)
    route = cluster.route(name)
    versions = cluster.versions(name)
    weights, mirror = (routes.weights(route), routes.mirror(route)) if route else ({}, None)
    rows = [
        {
            "version": item.version,
            "weight": weights.get(item.service, 0),
            "ready": item.ready,
            "requests": _requests_of(cluster, item),
            "trouble": "" if item.ready else cluster.why_not_ready(item),
        }
        for item in versions
    ]
    if not rows:
        raise CliError(f"Namespace {namespace} serves no version of {name!r}.", 3)
    copied = next((item.version for item in versions if item.service == mirror), None)
    if as_json:
        hosts = route["spec"].get("hostnames", []) if route else []
        print_json({"model": name, "namespace": namespace, "hosts": hosts, "mirror": copied, "versions": rows})
        return
    print_table(list(rows[0]), [["?" if fact is None else fact for fact in row.values()] for row in rows])
    if copied:
        console.print(f"copies go to {copied}")


def _requests_of(cluster: Cluster, item: Deployed) -> int | None:
    try:
        return cluster.requests_of(item)
    except NotCounted as error:
        say(str(error))
        return None


def print_stack(folder: Path, *, as_json: bool = False) -> None:
    """Print what runs on this machine."""
    state = stacks.running(folder)
    gateway = stacks.gateway_of(folder, state)
    split = EnvoySplit.of(gateway, state)
    weights, seen = split.weights(), split.request_counts()
    rows: list[dict[str, Any]] = [
        {
            "version": server.version,
            "weight": weights[server.version],
            "ready": _is_ready(server.url, state.model),
            "requests": seen[server.version],
            "url": server.url,
            "pid": server.pid,
        }
        for server in state.servers
    ]
    if as_json:
        store = {"url": state.access.url, "endpoint": state.endpoint}
        print_json({"model": state.model, "gateway": gateway.url, "store": store, "pid": state.pid, "versions": rows})
        return
    print_table(list(rows[0]), [list(row.values()) for row in rows])
    console.print(f"{state.model}: {gateway.url}{names.v1_predict(state.model)}")


def _is_ready(url: str, model: str) -> bool:
    try:
        return requests.get(url + names.v1_model(model), timeout=2).ok
    except requests.RequestException:
        return False


def predict(
    instances: Annotated[str, typer.Argument(help='JSON rows such as "[[1.0, …]]", or @FILE with a V1 body.')],
    version: Annotated[str | None, typer.Option("--version", help="Pin a version.")] = None,
    folder: FolderOption = FOLDER,
    namespace: NamespaceOption = None,
    model: ModelOption = None,
    gateway: Annotated[
        str, typer.Option(envvar="SABIA_GATEWAY", help="Where the cluster's inference gateway is reached from here.")
    ] = "http://127.0.0.1:8080",
    as_json: JsonOption = False,
) -> None:
    """Send rows to the model through its gateway."""
    body = _body(instances)
    url, headers = _address(folder, namespace, model, gateway)
    headers |= {"content-type": "application/json"} | ({names.PIN_HEADER: version} if version else {})
    try:
        answer = requests.post(url, data=body, headers=headers, timeout=60)
    except requests.RequestException as error:
        raise CliError(f"The gateway does not answer ({type(error).__name__}).", 5) from error
    facts: dict[str, Any] = {"status": answer.status_code, "version": answer.headers.get(names.PIN_HEADER)}
    try:
        facts |= answer.json()
    except ValueError:
        facts["error"] = answer.text[:200]
    if not answer.ok:
        raise CliError(f"{facts['status']}: {facts.get('error')}")
    if as_json:
        print_json(facts)
        return
    print_table(
        ["row", "prediction", "version"],
        [[at, value, facts["version"]] for at, value in enumerate(facts["predictions"])],
    )


def _address(folder: Path, namespace: str | None, model: str | None, gateway: str) -> tuple[str, dict[str, str]]:
    """Where a model is asked, and the headers that lead there."""
    if namespace is None:
        state = stacks.running(folder)
        return stacks.gateway_of(folder, state).url + names.v1_predict(state.model), {}
    cluster = Cluster.connect(namespace)
    name = model or _only_model(cluster)
    hosts = HttpRouteSplit(cluster, name).read()["spec"].get("hostnames", [])
    return gateway.rstrip("/") + names.v1_predict(name), {"host": hosts[0]} if hosts else {}


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
