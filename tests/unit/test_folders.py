"""Folders of this machine's users are theirs alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sabia.folders import UnsafeFolder, cache_folder, private


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({"XDG_CACHE_HOME": "{}/cache", "HOME": "{}/home"}, "cache/sabia/log"),
        ({"HOME": "{}/home"}, "home/.cache/sabia/log"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "{}/home"}, "home/.cache/sabia/log"),
    ],
)
def test_the_folder_is_where_the_specification_says_and_closed_to_others(
    tmp_path: Path, environment: dict[str, str], place: str
) -> None:
    folder = cache_folder(
        "the log", "log", environment={name: value.format(tmp_path) for name, value in environment.items()}
    )
    assert folder == tmp_path / place
    assert [mode(each) for each in (folder, folder.parent)] == [0o700, 0o700]


def test_without_a_home_every_user_has_another_folder() -> None:
    assert str(os.geteuid()) in str(cache_folder("the log", environment={}))


def test_a_folder_that_others_may_write_is_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / "sabia").mkdir()
    (tmp_path / "sabia").chmod(0o777)
    cache_folder("the log", environment={"XDG_CACHE_HOME": str(tmp_path)})
    assert mode(tmp_path / "sabia") == 0o700


@pytest.mark.parametrize("planted", ["sabia", "sabia/log"])
def test_a_link_in_its_place_is_refused(tmp_path: Path, planted: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / planted).parent.mkdir(exist_ok=True)
    (tmp_path / planted).symlink_to(elsewhere)
    with pytest.raises(UnsafeFolder, match="The folder for the log belongs to another user, or is a link"):
        cache_folder("the log", "log", environment={"XDG_CACHE_HOME": str(tmp_path)})


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sabia").write_text("")
    with pytest.raises(UnsafeFolder):
        cache_folder("the log", environment={"XDG_CACHE_HOME": str(tmp_path)})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder of another user")
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "sabia"
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    with pytest.raises(PermissionError):
        private(folder)
