"""What a pod is allowed, seen from inside of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster import tools
from tests.cluster.tools import MODEL, NAMESPACE, Served

MANY = "many"
# Eleven states of one method: 1.0 to 1.10.
RECIPE = "\n".join(
    [
        f"model: {MANY}",
        "dataset: sklearn:breast_cancer",
        "held_out: 0.25",
        "seed: 20",
        "floor: {accuracy: 0.90, roc_auc: 0.95}",
        "versions:",
        *(
            f'  - {{note: "state {state}", methods: linear-regression, hyper_params: {{alpha: {1.0 + state}}}}}'
            for state in range(11)
        ),
    ]
)


@pytest.fixture(scope="module")
def neighbours(training: dict[str, list[str]]) -> Iterator[dict[str, str]]:
    """The pods of versions 1.1 and 1.10 of a model, beside each other."""
    script = (
        "import subprocess, sys, pathlib\n"
        f"pathlib.Path('/tmp/recipe.yaml').write_text({RECIPE!r})\n"
        "command = [sys.executable, '-m', 'training', '--store=s3://sabia', '/tmp/recipe.yaml']\n"
        "sys.exit(subprocess.run(command).returncode)"
    )
    assert f"{MANY} 1.10" in tools.run_pod(script, secret="models-s3-trainer")
    done = tools.sabia("deploy", MANY, "1.1", "1.10")
    assert done.returncode == 0, done.stderr
    yield {
        version: tools.pods_of(f"{MANY}-v{version.replace('.', '-')}")[0]["metadata"]["name"]
        for version in ("1.1", "1.10")
    }
    tools.kubectl("delete", "-n", NAMESPACE, f"httproute/{MANY}", "--ignore-not-found")
    for version in ("1.1", "1.10"):
        assert tools.sabia("undeploy", MANY, version, "--quiet", "1").returncode == 0


def test_each_pod_holds_only_its_own_files(neighbours: dict[str, str]) -> None:
    script = (
        "from sabia.registry.verification import read_manifest\n"
        "from sabia.store.objects import Store\n"
        "store = Store.open('file:///mnt/models')\n"
        "manifest = read_manifest(store)\n"
        "print(manifest.version, len(manifest.files), len(list(store.list(''))))"
    )
    for version, pod in neighbours.items():
        assert tools.within(pod, script).split() == [version, "4", "5"], "its files and its manifest, and no other"


@pytest.fixture(scope="module")
def pod(served: Served) -> str:
    """A pod of the stable version."""
    found: str = tools.pods_of(f"{MODEL}-v1-2")[0]["metadata"]["name"]
    return found


def test_it_is_not_root_and_its_file_system_cannot_be_written(pod: str) -> None:
    assert tools.within(pod, "import os; print(os.getuid(), os.getgid())").split() == ["10001", "10001"]
    for place in ("/", "/opt/sabia", "/tmp", "/mnt/models"):  # noqa: S108  that it cannot be written is the point
        said = tools.within(pod, f"open({place + '/new'!r}, 'w')", check=False)
        assert "Read-only file system" in said or "Permission denied" in said


def test_it_has_no_api_token_and_of_the_store_nothing_but_the_right_to_write_its_log(pod: str) -> None:
    script = "import os; print(os.path.exists('/var/run/secrets'), os.environ['AWS_ACCESS_KEY_ID'])"
    assert tools.within(pod, script).strip() == "False logger"


def test_it_may_reach_the_store_and_no_other_service_where_policies_are_enforced(pod: str) -> None:
    script = (
        "import socket\n"
        "def reaches(host, port):\n"
        "    try:\n"
        "        socket.create_connection((host, port), 3).close()\n"
        "    except OSError:\n"
        "        return False\n"
        "    return True\n"
        "print(reaches('minio.sabia-store', 9000), reaches('kserve-webhook-server-service.kserve', 443))"
    )
    store, other = tools.within(pod, script).split()
    assert store == "True"
    if other == "True":
        pytest.skip("this cluster's network plugin accepts NetworkPolicies and does not enforce them")
