"""What does a test need from the machine? Missing: skipped with the reason, and failed in CI."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

from topbit.errors import TopbitError
from topbit.store import kernels, tools


def lacking(what: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must have it: {what}")
    pytest.skip(what)


def tool(name: str) -> str:
    """Where is this tool of topbit's (a key of debian.TOOLS)? Never fetched by a test."""
    try:
        return str(tools.find(name))
    except TopbitError as error:
        lacking(str(error))


def program(name: str) -> str:
    """Where is this program on PATH?"""
    return shutil.which(name) or lacking(f"{name} is not installed")


def kernel(name: str, flavour: str = "cloud") -> kernels.Kernel:
    """Which kernel is it? Fetched if it is not in the cache."""
    try:
        return kernels.kernel(name, flavour=flavour)
    except TopbitError as error:
        lacking(str(error))


def busybox() -> Path:
    try:
        return kernels.busybox()
    except TopbitError as error:
        lacking(str(error))
