"""Which test runs which lines of a room, and how long does it take? A pytest plugin.

`TOPBIT_TRACE_ROOM` names the folder or file whose lines are looked at, `TOPBIT_TRACE_TO` the JSON
file for the answer: {test: {"seconds": s, "lines": {file: [line, ...]}}}, where the test "" stands
for what ran while the tests were collected.
"""

from __future__ import annotations

import dis
import json
import os
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

ROOM = os.environ.get("TOPBIT_TRACE_ROOM", "")
_lines_of: dict[CodeType, int] = {}
_seen: dict[CodeType, set[int]] = defaultdict(set)
_tests: dict[str, dict[str, Any]] = {}


def _enter(frame: FrameType, event: str, arg: object) -> Any:
    code = frame.f_code
    if not code.co_filename.startswith(ROOM):
        return None
    if code not in _lines_of:
        _lines_of[code] = len({line for _, line in dis.findlinestarts(code) if line})
    seen = _seen[code]
    seen.add(frame.f_lineno)
    if len(seen) >= _lines_of[code]:
        return None  # nothing more to learn of this function

    def step(frame: FrameType, event: str, arg: object) -> Any:
        seen.add(frame.f_lineno)
        return step

    return step


@contextmanager
def _watch(name: str) -> Iterator[None]:
    _seen.clear()
    before = time.perf_counter()
    threading.settrace(_enter)
    sys.settrace(_enter)
    try:
        yield
    finally:
        sys.settrace(None)
        threading.settrace(None)
        lines: dict[str, list[int]] = defaultdict(list)
        for code, found in _seen.items():
            lines[code.co_filename].extend(found)
        _tests[name] = {"seconds": time.perf_counter() - before, "lines": lines}


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Watch the imports."""
    with _watch(""):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Watch one test with its fixtures."""
    with _watch(item.nodeid):
        return (yield)


def pytest_sessionfinish() -> None:
    """Hand over what was seen."""
    Path(os.environ["TOPBIT_TRACE_TO"]).write_text(json.dumps(_tests), encoding="utf-8")
