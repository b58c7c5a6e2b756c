"""Is what a report needs there when a run ends?"""

from __future__ import annotations

import time
from queue import Queue
from types import SimpleNamespace
from typing import Any

import pytest

from topbit.readers.bulk.dull_lines import words_by_key
from topbit.report import ahead


@pytest.mark.parametrize("running", [True, False])
def test_the_reporting_is_loaded_once_the_guest_has_a_console(
    running: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: Queue[str] = Queue()
    monkeypatch.setattr(ahead.importlib, "import_module", loaded.put)
    monkeypatch.setattr(ahead, "report_on_little", lambda: loaded.put("warm"))
    process, console = SimpleNamespace(running=True), bytearray()
    machine: Any = SimpleNamespace(process=process, console=console)
    ahead.make_ready(machine)
    time.sleep(0.1)
    assert loaded.empty()
    process.running = running
    console += b"[" * running
    assert loaded.get(timeout=20) == "topbit.machine.qemu.outcome"
    assert "warm" in [loaded.get(timeout=20) for _ in range(3)]


def test_reporting_is_made_ready_by_a_report() -> None:
    words_by_key.cache_clear()
    ahead.report_on_little()
    assert words_by_key.cache_info().currsize == 1
