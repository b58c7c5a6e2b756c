from pathlib import Path

import pytest

import needs
from topbit.errors import MissingToolError
from topbit.store import debian
from topbit.store.debian import Source


@pytest.fixture(autouse=True)
def _tools() -> None:
    for program in ("apt-get", "dpkg-deb"):
        needs.program(program)


def test_sources_of_both_forms_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    (tmp_path / "sources.list").write_text(
        "# a comment\ndeb [arch=amd64] http://mirror.example/debian bookworm main contrib\n"
        "deb-src http://mirror.example/debian bookworm main\n"
    )
    (parts / "more.sources").write_text(
        "Types: deb\nURIs: http://mirror.example/debian-security\nSuites: bookworm-security\n"
        "Components: main\n\nTypes: deb\nEnabled: no\nURIs: http://off.example/debian\n"
        "Suites: bookworm\nComponents: main\n"
    )
    config = tmp_path / "apt.conf"
    config.write_text(f'Dir::Etc "{tmp_path}";\nAPT::Architecture "amd64";\n')
    monkeypatch.setenv("APT_CONFIG", str(config))
    assert debian.machine_sources() == [
        Source("http://mirror.example/debian/", "bookworm"),
        Source("http://mirror.example/debian-security/", "bookworm-security"),
    ]
    monkeypatch.setattr(debian, "os_release", lambda: {"VERSION_CODENAME": "bookworm"})
    assert debian.debian_mirror() == "http://mirror.example/debian/"
    monkeypatch.setattr(debian, "os_release", lambda: {"VERSION_CODENAME": "noble"})
    with pytest.raises(MissingToolError, match="no source of Debian's own archive"):
        debian.debian_mirror()
