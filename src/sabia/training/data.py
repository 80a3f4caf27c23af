"""The part `data` of a recipe: where rows come from, which columns are inputs, and which rows are held out."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

REMOTE = ("s3", "gs", "az", "http", "https")
POSTGRESQL = ("postgresql", "postgres")

Format = Literal["csv", "json", "parquet"]
Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]
Columns = Annotated[list[str], msgspec.Meta(min_length=1)]
Value = str | int | bool
Option = str | int | float | bool | list[str]
# A name that a query can write without quotes.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FORMATS: dict[str, Format] = {
    "csv": "csv",
    "tsv": "csv",
    "txt": "csv",
    "json": "json",
    "jsonl": "json",
    "ndjson": "json",
    "parquet": "parquet",
    "pq": "parquet",
}


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One table.

    Attributes:
        url: a path, relative to the recipe; or a URL of `s3://`, `gs://`, `az://`, `https://`. Both may have `*`, `?`
            and `**` but those of `https://`. Or `postgresql://…`, without a password: libpq reads `PGPASSWORD`.
        format: of the files; without it, their extension names it.
        query: what to read from PostgreSQL, as a SELECT.
        options: of DuckDB's reader of the format, such as `nullstr: [NA]` for CSV.
    """

    url: Annotated[str, msgspec.Meta(min_length=1)]
    format: Format | None = None
    query: str | None = None
    options: dict[str, Option] = {}

    def __post_init__(self) -> None:
        """Check that the fields belong together."""
        if self.is_postgresql:
            if not self.query:
                raise ValueError("a source of PostgreSQL needs a query")
            if self.format or self.options:
                raise ValueError("a source of PostgreSQL has neither format nor options")
            return
        if self.query:
            raise ValueError("only a source of PostgreSQL has a query of its own; write it beside `sources`")
        if self.scheme not in ("", "file", *REMOTE):
            known = ", ".join(f"{scheme}://" for scheme in (*REMOTE, "postgresql"))
            raise ValueError(f"{self.scheme}:// is not a source; known: paths, {known}")
        if self.kind is None:
            raise ValueError(f"the extension of {self.public_url!r} does not say its format; add `format`")
        for option in self.options:
            if not _NAME.fullmatch(option):
                raise ValueError(f"{option!r} is not the name of an option")

    @property
    def scheme(self) -> str:
        """The scheme of the URL; "" for a path."""
        return urlsplit(self.url).scheme if "://" in self.url else ""

    @property
    def is_postgresql(self) -> bool:
        """Whether the rows come from a PostgreSQL database."""
        return self.scheme in POSTGRESQL

    @property
    def kind(self) -> Format | None:
        """The format of the files, given or by extension; compression is passed over."""
        name = re.sub(r"\.(gz|zst)$", "", urlsplit(self.url).path if self.scheme else self.url)
        return self.format or _FORMATS.get(name.rpartition(".")[2].lower())

    @property
    def public_url(self) -> str:
        """The URL without user, password and query string, any of which may hold a secret."""
        if not self.scheme:
            return self.url
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class Split(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which rows are held out: training never sees them, and the version is evaluated on them.

    One of four forms: `share` (of shuffled rows), `column` with `held_out` (rows that have one of these values there),
    `time` with `start` (rows from then on), `time` with `share` (the latest rows).
    """

    share: Share | None = None
    column: str | None = None
    held_out: Value | list[Value] | None = None
    time: str | None = None
    # YAML reads a date as a date.
    start: Any = None

    def __post_init__(self) -> None:
        """Check that it is one of the forms."""
        given = {name for name in self.__struct_fields__ if getattr(self, name) is not None}
        if given not in ({"share"}, {"column", "held_out"}, {"time", "start"}, {"time", "share"}):
            raise ValueError("give `share`, or `column` and `held_out`, or `time` and one of `start` and `share`")

    @property
    def by(self) -> str | None:
        """The column that decides, if one does."""
        return self.column or self.time


class Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A data set of the user's own.

    Attributes:
        sources: tables by the names that `query` uses.
        query: any SELECT of DuckDB; without it, the only source is read whole.
        target: the column to predict, or several to predict together.
        columns: the inputs, in this order; without it, every column but the target and the one that splits.
        units: by column; "1" is dimensionless.
    """

    sources: Annotated[dict[str, str | Source], msgspec.Meta(min_length=1)]
    target: str | Columns
    split: Split
    query: str | None = None
    columns: Columns | None = None
    units: dict[str, str] = {}

    def __post_init__(self) -> None:
        """Check what the types alone do not."""
        for name in self.sources:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not a name that a query can use: letters, digits and _")
        if len({name.lower() for name in self.sources}) < len(self.sources):
            raise ValueError("the names of two sources differ only in case, which queries do not tell apart")
        if self.query is None and len(self.sources) > 1:
            raise ValueError("several sources need a query that joins them")
        both = set(self.targets) & set(self.columns or ())
        if both:
            raise ValueError(f"{min(both)!r} is both a target and an input")
        if self.split.by in self.targets:
            raise ValueError(f"the target {self.split.by!r} cannot split the rows")
        self.tables  # noqa: B018  a source that is only a URL is checked here

    @property
    def targets(self) -> list[str]:
        """The columns to predict."""
        return [self.target] if isinstance(self.target, str) else self.target

    @property
    def tables(self) -> dict[str, Source]:
        """Every source in its long form, by name."""
        return {name: Source(source) if isinstance(source, str) else source for name, source in self.sources.items()}

    @property
    def uri(self) -> str:
        """The sources, as a manifest names them."""
        return " ".join(source.public_url for source in self.tables.values())
