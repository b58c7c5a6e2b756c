"""What does a test need from the machine? Missing: skipped with the reason, and failed in CI."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

from topbit.errors import TopbitError
from topbit.store import busybox as busybox_store
from topbit.store import kernels, sources, tools
from topbit.store.cache import cache_dir

marked = True
"""Has the test that runs now the mark `qemu`?"""


def lacking(what: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must have it: {what}")
    pytest.skip(what)


def tool(name: str) -> str:
    """Where is this tool of topbit's (a key of tools.TOOLS)? Never fetched by a test."""
    if name == "qemu":
        _require_mark()
    try:
        return str(tools.find(name))
    except TopbitError as error:
        lacking(str(error))


def program(name: str) -> str:
    """Where is this program on PATH?"""
    return shutil.which(name) or lacking(f"{name} is not installed")


def oracle(name: str) -> Path:
    """Where is this file of `tools/oracles.sh`, such as "kunit/kunit_parser.py"?"""
    found = sorted((cache_dir() / "oracles").glob(name))
    return found[-1] if found else lacking(f"{name} is missing (tools/oracles.sh fetches it)")


def kernel(name: str, flavour: str = "cloud") -> kernels.Kernel:
    """Which kernel is it? Fetched if it is not in the cache."""
    _require_mark()
    try:
        return kernels.kernel(name, flavour=flavour)
    except TopbitError as error:
        lacking(str(error))


def busybox() -> Path:
    """Where is the guest's busybox? Fetched if it is not in the cache."""
    _require_mark()
    try:
        return busybox_store.fetch()
    except TopbitError as error:
        lacking(str(error))


def _require_mark() -> None:
    if not marked:
        pytest.fail("what needs QEMU or fetches for it has the mark `qemu`")


def source(series: str) -> Path:
    """Where is a tree of Debian's linux-source-SERIES? Never fetched by a test."""
    found = sources.held(series)
    return found or lacking(f"the sources of Linux {series}: topbit kernel fetch --source {series}")
