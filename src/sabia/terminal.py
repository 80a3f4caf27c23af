"""What commands print: a table for people, one JSON document for programs, progress on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def print_json(document: Any) -> None:
    """Print facts as one JSON document."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """Print facts as a table."""
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    console.print(table)


def print_line(text: str) -> None:
    """Print a line as it is, without markup and without wrapping."""
    console.print(text, markup=False, soft_wrap=True)


def log(text: str) -> None:
    """Report progress, on standard error: standard output is for facts."""
    errors.print(text, style="dim", markup=False, soft_wrap=True)
