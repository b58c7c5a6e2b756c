"""The Containerfile: read by a peer's parser; nothing here can build it."""

from __future__ import annotations

import json
import shlex

import pytest
from dockerfile_parse import DockerfileParser

from paths import ROOT
from topbit.store.tools import TOOLS

PARSED = DockerfileParser(fileobj=(ROOT / "Containerfile").open("rb"))
STEPS = [(step["instruction"], step["value"]) for step in PARSED.structure]
# What Debian's dockerfile(5) of buildah knows.
INSTRUCTIONS = {"FROM", "RUN", "COPY", "USER", "WORKDIR", "ENTRYPOINT", "COMMENT"}


def values(instruction: str) -> list[str]:
    return [value for name, value in STEPS if name == instruction]


def test_it_is_instructions_that_exist_and_begins_with_its_base() -> None:
    assert {name for name, _ in STEPS} <= INSTRUCTIONS
    assert next(name for name, _ in STEPS if name != "COMMENT") == "FROM"
    assert PARSED.baseimage == "docker.io/library/debian:trixie-slim"


@pytest.mark.parametrize("value", values("COPY"))
def test_what_it_copies_is_there(value: str) -> None:
    *sources, into = shlex.split(value)
    assert sources
    assert into.startswith("/")
    assert [source for source in sources if not (ROOT / source).exists()] == []


@pytest.mark.parametrize("value", values("RUN"))
def test_what_it_runs_is_a_shell_command(value: str) -> None:
    words = shlex.split(value)
    assert words[0] in {"apt-get", "python3", "/opt/topbit/bin/pip"}
    assert "|" not in words


def test_it_has_the_tools_of_the_qemu_machine() -> None:
    wanted = {TOOLS[name].package for name in ("qemu", "binutils", "dtc", "trace-cmd", "cpio")}
    assert wanted <= set(shlex.split(values("RUN")[0]))


def test_it_ends_as_a_user_that_is_not_root_and_runs_topbit() -> None:
    assert values("USER") == ["topbit"]
    assert json.loads(values("ENTRYPOINT")[0]) == ["topbit"]
