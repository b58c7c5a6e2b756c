import argparse
from pathlib import Path

import pytest

from topbit.cli import kernel as verb
from topbit.errors import RunError, UsageError
from topbit.store import kernels
from topbit.store.apt import Package
from topbit.store.kernels import Kernel, Offer


def offer(release: str, flavour: str = "cloud") -> Offer:
    return Offer(release, flavour, (Package("linux-image-" + release, "1", 28_000_000, ""),))


OFFERS = [
    offer("6.18.9+deb13-cloud-arm64"),
    offer("6.18.15+deb13-cloud-arm64"),
    offer("7.3.4+deb13-cloud-arm64"),
    offer("7.3.4+deb13-arm64", "full"),
]


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)
    return verb.run(parser.parse_args(words))


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tmp_path / "Image"
    image.write_bytes(bytes(0x38) + b"ARM\x64" + bytes(4) + b"Using RSI version\0")
    held = [Kernel("6.18.15+deb13-cloud-arm64", image, None)]
    monkeypatch.setattr(kernels, "cached", lambda: held)
    monkeypatch.setattr(kernels, "available", lambda: OFFERS)


def test_list_shows_each_series_newest_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == 0
    lines = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["6.18.15+deb13-cloud-arm64", "cached"],
        ["7.3.4+deb13-cloud-arm64", "archive"],
        ["7.3.4+deb13-arm64", "archive"],
    ]


def test_list_all_shows_every_version(capsys: pytest.CaptureFixture[str]) -> None:
    run("list", "--all")
    assert "6.18.9" in capsys.readouterr().out


def test_list_without_an_archive_shows_the_cache(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable() -> list[Offer]:
        raise RunError("the archive cannot be reached")

    monkeypatch.setattr(kernels, "available", unreachable)
    assert run("list") == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    assert err == "topbit: the archive cannot be reached\n"


def test_fetch_prints_where_each_kernel_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []

    def fetch(name: str, *, flavour: str, suite: str, note: object, fetched: object) -> Kernel:
        asked.append((name, flavour, suite))
        return Kernel(name, tmp_path / "Image", None)

    monkeypatch.setattr(kernels, "fetch", fetch)
    assert run("fetch", "6.18", "7.3", "--flavour", "full") == 0
    assert asked == [("6.18", "full", ""), ("7.3", "full", "")]
    assert capsys.readouterr().out.count(str(tmp_path / "Image")) == 2
    assert run("fetch", "7.2", "--suite", "unstable") == 0
    assert asked[-1] == ("7.2", "cloud", "unstable")
    with pytest.raises(UsageError, match="--suite"):
        run("fetch", "7.2", "--suite", "unstable", "--source")


def test_flavours_are_those_of_the_store() -> None:
    assert set(verb.FLAVOURS) == set(kernels.FLAVOURS)


def test_nothing_asked_is_bad_usage() -> None:
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 2
