"""`python scripts/sizes.py`: distributions and megabytes of the base install and of each extra, from the lock.

Installs each with uv into a virtual environment of its own and prints the table of docs/installing.md. Megabytes are
10^6 bytes of files, unpacked, without bytecode. With `--image` it prints the parts of the environment that it runs in:
`docker run --rm -i --entrypoint python sabia:0.1.0 - --image < scripts/sizes.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from importlib import metadata
from pathlib import Path


def measure(root: Path, extra: str | None, folder: Path) -> tuple[int, float]:
    """Number of distributions, and megabytes of files, of the package with one extra."""
    environment = folder / (extra or "base")
    uv = str(Path(sys.executable).parent / "uv")
    requirement = f"{root}[{extra}]" if extra else str(root)
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, environment], check=True)
    command = [uv, "pip", "install", "--quiet", "--python", str(environment / "bin" / "python")]
    command += ["--constraint", str(root / "requirements.lock"), requirement]
    unset = ("VIRTUAL_ENV", "PYTHONPATH")
    variables = {name: value for name, value in os.environ.items() if name not in unset}
    subprocess.run(command, check=True, env=variables)
    (packages,) = environment.glob("lib/python*/site-packages")
    return len(list(packages.glob("*.dist-info"))), sum(size(path) for path in environment.rglob("*"))


def size(path: Path) -> float:
    """Megabytes of a file; 0 for a folder or a link."""
    return 0 if path.is_symlink() or not path.is_file() else path.stat().st_size / 1e6


def extras(root: Path) -> list[str]:
    """The extras of pyproject.toml."""
    import tomllib

    return sorted(tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"])


def print_extras() -> None:
    """Print the table of the base install and the extras."""
    root = Path(__file__).parents[1]
    print("| install | distributions | MB |\n|---|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        for extra in (None, *extras(root)):
            count, megabytes = measure(root, extra, Path(folder))
            print(f"| `{f'sabia[{extra}]' if extra else 'sabia'}` | {count} | {megabytes:.0f} |", flush=True)


def print_parts() -> None:
    """Print the megabytes of each distribution of this environment, bytecode included, the largest first."""
    parts: Counter[str] = Counter()
    for one in metadata.distributions():
        name = one.metadata["Name"]
        # What a wheel's RECORD lists and the image has removed does not exist; bytecode is listed by the installer.
        parts[name] = sum(round(1e6 * size(Path(str(one.locate_file(file))))) for file in one.files or [])
    others = {name: count for name, count in parts.items() if count < 1e6}
    print("| part | MB |\n|---|--:|")
    for name, count in parts.most_common():
        if name not in others:
            print(f"| {name} | {count / 1e6:.1f} |")
    print(f"| {len(others)} others | {sum(others.values()) / 1e6:.1f} |")
    print(f"| total | {sum(parts.values()) / 1e6:.0f} |")


if __name__ == "__main__":
    print_parts() if "--image" in sys.argv[1:] else print_extras()
