"""The spool holds the files of its own log, and sends no others."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sabia.serving.log.spool import Spool

PREFIX = "inference-log/v1/model=toy/"
KEY = f"{PREFIX}dt=2026-03-01/a.parquet"


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", 1000, PREFIX)


def test_files_and_folders_are_for_their_user_alone(spool: Spool, tmp_path: Path) -> None:
    assert spool.put(KEY, b"rows")
    found = list((tmp_path / "spool").rglob("*"))
    assert {stat.S_IMODE(path.lstat().st_mode) for path in found} == {0o700, 0o600}
    assert stat.S_IMODE((tmp_path / "spool").lstat().st_mode) == 0o700


@pytest.mark.parametrize(
    "key", [KEY, f"{PREFIX}secret", "models/toy/1.0/manifest.json", f"{PREFIX}dt=2026-03-01/b.parquet"]
)
def test_a_link_that_was_planted_is_not_sent(spool: Spool, tmp_path: Path, key: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of another user")
    planted = tmp_path / "spool" / key
    planted.parent.mkdir(parents=True)
    planted.symlink_to(secret)
    assert spool.spooled() == []
    assert spool.read(key) is None
    assert spool.nbytes() == 0


def test_a_folder_that_is_a_link_is_not_entered(spool: Spool, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.parquet").write_text("of another user")
    (tmp_path / "spool" / PREFIX).mkdir(parents=True)
    (tmp_path / "spool" / PREFIX / "dt=2026-03-01").symlink_to(tmp_path / "elsewhere")
    assert spool.spooled() == []


@pytest.mark.parametrize(
    "key",
    ["inference-log/v1/model=other/dt=2026-03-01/a.parquet", "models/toy/1.0/manifest.json", f"{PREFIX}notes.txt"],
)
def test_files_that_are_not_of_this_log_stay_where_they_are(spool: Spool, tmp_path: Path, key: str) -> None:
    path = tmp_path / "spool" / key
    path.parent.mkdir(parents=True)
    path.write_text("something else")
    assert spool.spooled() == []
    assert path.exists()


def test_a_link_in_the_place_of_a_file_is_not_written_through(spool: Spool, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    unfinished = tmp_path / "spool" / f"{KEY}.part"
    unfinished.parent.mkdir(parents=True)
    unfinished.symlink_to(target)
    spool.put(KEY, b"rows")
    assert target.read_text() == "mine"


def test_what_a_killed_process_left_unfinished_is_deleted_and_what_is_being_written_is_not(
    spool: Spool, tmp_path: Path
) -> None:
    spool.put(KEY, b"rows")
    folder = (tmp_path / "spool" / KEY).parent
    for name, age in (("old.parquet.part", 3600), ("new.parquet.part", 0)):
        (folder / name).write_text("half")
        found = (folder / name).stat()
        os.utime(folder / name, (found.st_atime - age, found.st_mtime - age))
    assert spool.spooled() == [KEY]
    assert sorted(path.name for path in folder.iterdir()) == ["a.parquet", "new.parquet.part"]
