import os
import socket
import time
from pathlib import Path

import pytest

from topbit.machine.qemu.process.console import Console

MARKER = b"\n@@ bundle begin"
OUTPUT = b"a line\r\n" + MARKER + b" 5 abc\n\x00\xff\x1b[2J\n@@ done\n"


@pytest.mark.parametrize("cut", [3, 9, 15, 30, len(OUTPUT)])
def test_copies_end_at_the_bundle_and_the_output_does_not(cut: int, tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    seen, terminal = os.pipe()
    console = Console(ours, tmp_path / "log", terminal, MARKER)
    for piece in (OUTPUT[:cut], OUTPUT[cut:]):
        theirs.sendall(piece)
        time.sleep(0.02)
    theirs.close()
    console.finish()
    ours.close()
    assert console.output == OUTPUT
    shown = (tmp_path / "log").read_bytes()
    assert OUTPUT.startswith(shown)
    # The marker's first half may have been copied before the second came; nothing behind it was.
    assert b"a line\r\n\n" in shown
    assert b"5 abc" not in shown
    if cut in (3, 9, len(OUTPUT)):
        assert shown == b"a line\r\n\n"
    os.close(terminal)
    with os.fdopen(seen, "rb") as pipe:
        assert pipe.read() == shown


def test_without_a_marker_everything_is_copied(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    console = Console(ours, tmp_path / "log")
    theirs.sendall(OUTPUT)
    theirs.close()
    console.finish()
    ours.close()
    assert (tmp_path / "log").read_bytes() == OUTPUT


def test_what_was_written_before_the_end_comes_in_although_the_other_end_stays_open(
    tmp_path: Path,
) -> None:
    ours, theirs = socket.socketpair()
    console = Console(ours, tmp_path / "log")
    for _ in range(3):
        theirs.sendall(OUTPUT * 1000)
    console.finish()
    assert console.output == OUTPUT * 3000
    with pytest.raises(BrokenPipeError):
        theirs.sendall(b"late")
    theirs.close()
    ours.close()
