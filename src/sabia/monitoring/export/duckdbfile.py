"""A period of the log as a DuckDB file."""

from __future__ import annotations

import tempfile
from pathlib import Path

import duckdb

from sabia.contract.inferencelog import PARTITIONS
from sabia.monitoring.archive import Archive
from sabia.monitoring.errors import NoExport
from sabia.monitoring.export.columns import exported, role_of
from sabia.monitoring.sql import LABELS_VIEW, daily, quoted
from sabia.store.objects import Store


def to_duckdb(archive: Archive, store: Store, path: Path) -> int:
    """Write an archive into a DuckDB file, replacing it, and return the number of its log rows.

    Raises:
        NoExport: the file cannot be written.
    """
    role = quoted(role_of(store, archive.model))
    names = exported(sorted(archive.columns_in("log") - {*PARTITIONS}), longest=None)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        unfinished = Path(folder, "new.duckdb")
        try:
            archive.execute(f"ATTACH {quoted(str(unfinished))} AS target")
            renamed = ", ".join(f'"{column}" AS "{name}"' for column, name in names.items() if column != name)
            selected = f"* RENAME ({renamed})" if renamed else "*"
            archive.execute(f"CREATE TABLE target.inference_log AS SELECT {selected} FROM log ORDER BY ts")
            archive.execute("CREATE TABLE target.every_label AS SELECT * FROM every_label")
            count = int(archive.rows("SELECT count(*) FROM target.inference_log")[0][0])
            archive.execute("DETACH target")
            with duckdb.connect(str(unfinished)) as database:
                database.execute(LABELS_VIEW)
                database.execute(
                    "CREATE VIEW responses AS SELECT log.*, truth.label, truth.class, truth.observed_at "
                    'FROM inference_log AS log LEFT JOIN labels AS truth USING (request_id, "row")'
                )
                database.execute(f"CREATE VIEW daily AS {daily('responses', role)}")
        except duckdb.Error as error:
            raise NoExport("the file cannot be written") from error
        unfinished.replace(path)
    return count
