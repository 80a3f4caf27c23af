"""The wheel works anywhere: in an empty environment, and in a folder whose files have the names of modules."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import requests

import sabia
from sabia.contract.layout import Version, version_prefix
from sabia.store.objects import Store
from tests.conftest import MODEL
from tests.packaging.conftest import ROOT, Installed

ROW = json.dumps([[1.0] * 30])
# Names of our modules, of the old layout's, of libraries, and of what Python itself imports when it starts.
HOSTILE = [
    "artifacts.py", "cli.py", "contract.py", "evidence.py", "json.py", "kubernetes.py", "local.py", "monitoring.py",
    "msgspec.py", "numpy.py", "platforms.py", "predictor.py", "requests.py", "rollout.py", "sabia.py", "serving.py",
    "sitecustomize.py", "stack.py", "store.py", "training/__init__.py", "typer.py", "usercustomize.py", "yaml.py",
]  # fmt: skip


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of every file."""
    files = [path for path in folder.rglob("*") if not path.is_dir()]
    return {str(path.relative_to(folder)): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in files}


def sources() -> set[str]:
    """Every file that the package consists of, as a path below `src`."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "src", "manifests"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    names = [name for name in names if name != "src/sabia/manifests" and (ROOT / name).exists()]
    return {re.sub(r"^manifests/", "sabia/manifests/", name).removeprefix("src/") for name in names}


def test_the_wheel_holds_every_file_of_the_package_and_no_other(archives: dict[str, Path]) -> None:
    with zipfile.ZipFile(archives["wheel"]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        assert names == sources()
        assert (
            wheel.read("sabia/manifests/base/kustomization.yaml")
            == (ROOT / "manifests" / "base" / "kustomization.yaml").read_bytes()
        )


def test_the_sdist_holds_what_the_wheel_is_built_from_and_the_docs(archives: dict[str, Path]) -> None:
    with tarfile.open(archives["sdist"]) as sdist:
        names = {member.name.partition("/")[2] for member in sdist if member.isfile()}
    assert {f"src/{name}" for name in sources()} <= names
    assert {"README.md", "CHANGELOG.md", "docs/architecture.md", "examples/rollout.yaml"} <= names
    assert not [name for name in names if name.endswith(".pyc")]


@pytest.fixture
def hostile(local: Installed) -> tuple[Installed, Path]:
    """A folder whose files leave a mark when Python takes one of them for a module, and the folder of the marks."""
    marks = local.home.parent / "marks"
    marks.mkdir()
    for name in HOSTILE:
        path = local.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"open({str(marks / path.parent.name) + '-' + path.name!r}, 'w').close()\n")
    (local.folder / "sabia.yaml").write_text("store: s3://another/store\n")
    return local, marks


def test_the_platform_runs_in_a_folder_of_hostile_files(hostile: tuple[Installed, Path]) -> None:
    installed, marks = hostile
    before, own = tree(installed.environment), tree(installed.folder)

    assert installed.sabia("--version").stdout.split() == ["sabia", sabia.__version__]
    assert "up" in installed.sabia("--help").stdout
    up = installed.sabia("up")
    assert up.returncode == 0, up.stdout + up.stderr
    status = json.loads(installed.sabia("status", "--json").stdout)
    assert [(row["version"], row["ready"]) for row in status["versions"]] == [("1.2", True), ("2.0", True)]
    answered = installed.sabia("predict", ROW, "--version", "2.0", "--json")
    assert answered.returncode == 0, answered.stderr
    assert json.loads(answered.stdout)["version"] == "2.0"
    missing = installed.sabia("show", MODEL, "9.9")
    assert missing.returncode == 3, missing.stderr
    down = installed.sabia("down")
    assert down.returncode == 0, down.stderr
    assert installed.sabia("status").returncode == 5, "nothing runs any more"

    assert list(marks.iterdir()) == []
    assert tree(installed.environment) == before, "an installation is read, never written"
    assert tree(installed.home) == {}, "nothing is written outside the folder"
    after = tree(installed.folder)
    assert {name: after[name] for name in own} == own, "the user's files stay"
    assert {Path(name).parts[0] for name in after.keys() - own.keys()} == {".sabia"}


def test_help_and_version_of_the_base_install_import_no_library(base: Installed) -> None:
    assert base.sabia("--version").stdout == f"sabia {sabia.__version__}\n"
    shown = base.sabia("--help")
    assert shown.returncode == 0, shown.stderr
    assert "rollout" in shown.stdout
    script = (
        "import sys\nfrom sabia.__main__ import main\n"
        "assert main(['--help']) == 0\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)\n"
        "print(*sorted(name for name in sys.modules if name.startswith('sabia')), file=sys.stderr)\n"
    )
    libraries, ours = base.python("-c", script).stderr.splitlines()
    assert set(libraries.split()) - set(sys.stdlib_module_names) <= {"sabia", "__main__"} | set(_STARTUP)
    assert set(ours.split()) == {
        "sabia",
        "sabia.__main__",
        "sabia.cli",
        "sabia.cli.commands",
        "sabia.errors",
        "sabia.loopback",
    }


# What a new environment imports before anything else.
_STARTUP = {"_distutils_hack", "_virtualenv", "distutils-precedence", "sitecustomize"}


def test_the_base_install_serves_a_published_version(base: Installed, published: Store) -> None:
    url = published.uri(version_prefix(MODEL, Version(2, 0)))
    command = base.command("serve", url, "--http_port", "0")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=base.folder, env=base.variables) as server:
        assert server.stderr is not None
        try:
            lines = (re.search(r"http://127\.0\.0\.1:\d+", line) for line in server.stderr)
            address = next(match[0] for match in lines if match)
            response = requests.post(f"{address}/v1/models/{MODEL}:predict", data=f'{{"instances": {ROW}}}', timeout=10)
        finally:
            server.terminate()
            server.stderr.read()  # to its end: a server that cannot log its shutdown fails
    assert response.status_code == 200
    assert len(response.json()["predictions"]) == 1
    assert server.returncode == 0


@pytest.mark.parametrize(
    ("command", "extra"),
    [(["up"], "local"), (["train"], "training"), (["report", MODEL], "monitoring"), (["demo"], "demo")],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_a_command_names_the_extra_that_it_lacks(base: Installed, command: list[str], extra: str) -> None:
    done = base.sabia(*command)
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    assert f"sabia[{extra}]" in line
    assert tree(base.folder) == {}
