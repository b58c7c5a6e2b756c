import errno
import subprocess
import sys
from pathlib import Path

import pytest

from topbit.errors import RunError
from topbit.store.cache import cache_dir, install_folder, locked


def test_cache_dir_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "topbit"


def test_relative_xdg_cache_home_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_dir() == Path("/home/somebody/.cache/topbit")


def test_folder_appears_only_when_complete(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "half").write_text("x")
        assert not (tmp_path / "thing").exists()
        raise RunError("the network went away")

    with pytest.raises(RunError):
        install_folder(tmp_path / "thing", fill)
    assert list(tmp_path.iterdir()) == []

    install_folder(tmp_path / "thing", lambda folder: (folder / "whole").touch())
    assert [path.name for path in (tmp_path / "thing").iterdir()] == ["whole"]


def test_what_a_killed_attempt_left_is_not_used(tmp_path: Path) -> None:
    left = tmp_path / ".thing.partial"
    left.mkdir()
    (left / "rubbish").touch()
    install_folder(tmp_path / "thing", lambda folder: (folder / "whole").touch())
    assert [path.name for path in (tmp_path / "thing").iterdir()] == ["whole"]


def test_complete_folder_is_not_filled_again(tmp_path: Path) -> None:
    (tmp_path / "thing").mkdir()
    install_folder(tmp_path / "thing", lambda folder: pytest.fail("filled again"))


def test_full_disk_is_said(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(RunError, match=r"No space left on device.*free some disk space"):
        install_folder(tmp_path / "thing", fill)


def test_unwritable_cache_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="XDG_CACHE_HOME"), locked(tmp_path / "file"):
        pass


FILLER = """
import pathlib, sys, time
from topbit.store.cache import install_folder, locked

folder = pathlib.Path(sys.argv[1])


def fill(empty):
    with (folder / "fills").open("a") as fills:
        fills.write("x")
    time.sleep(0.2)
    (empty / "whole").touch()


with locked(folder):
    install_folder(folder / "thing", fill)
"""


def test_two_processes_fill_once(tmp_path: Path) -> None:
    workers = [subprocess.Popen([sys.executable, "-c", FILLER, tmp_path]) for _ in range(2)]
    assert [worker.wait(60) for worker in workers] == [0, 0]
    assert (tmp_path / "fills").read_text() == "x"
