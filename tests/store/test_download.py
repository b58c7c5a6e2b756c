from pathlib import Path

import pytest

from topbit.errors import RunError
from topbit.store.apt_program import Came
from topbit.store.download import Download, fetch_all


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def download(what: str, size: int, done: list[str]) -> Download:
    def fetch(came: Came) -> None:
        came(size // 2)
        came(size)
        done.append(what)

    return Download(what, size, fetch)


def test_each_is_fetched_in_turn_after_all_were_named(tmp_path: Path) -> None:
    order: list[str] = []
    seen: list[tuple[str, int, int]] = []
    wanted = [download("a tool", 4_000_000, order), download("a kernel", 27_600_000, order)]
    fetch_all(wanted, order.append, lambda *told: seen.append(told))
    assert order == [
        f"fetching from Debian's archive into {tmp_path}/topbit: a tool (4 MB), a kernel (28 MB)",
        "a tool",
        "a kernel",
    ]
    assert seen == [
        *(("a tool", came, 4_000_000) for came in (0, 2_000_000, 4_000_000)),
        *(("a kernel", came, 27_600_000) for came in (0, 13_800_000, 27_600_000)),
    ]


def test_nothing_is_said_of_nothing() -> None:
    said: list[str] = []
    fetch_all([], said.append)
    assert said == []


def test_after_a_failure_no_other_is_fetched() -> None:
    def fails(came: Came) -> None:
        raise RunError("the archive cannot be reached")

    order: list[str] = []
    with pytest.raises(RunError, match="cannot be reached"):
        fetch_all([Download("a tool", 1, fails), download("a kernel", 1, order)])
    assert order == []
