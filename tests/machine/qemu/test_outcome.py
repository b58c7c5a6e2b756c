"""What a guest did until its end is known, however it ends, and nothing else is made of it."""

from __future__ import annotations

import pytest

import needs
from topbit.machine.qemu.guest.own_system import OwnSystem
from topbit.machine.qemu.outcome import Outcome
from topbit.machine.qemu.scenario_run import ScenarioRun
from topbit.recording.recording import Recording
from topbit.rules import check
from topbit.scenario import builtin

pytestmark = pytest.mark.qemu

WROTE = r"printf 'before\000\377'; "


def booted(command: str, timeout: float) -> tuple[Outcome, bytes]:
    needs.tool("qemu")
    needs.busybox()
    wrote: list[bytes] = []
    own = OwnSystem(command=WROTE + command)
    with ScenarioRun(builtin("seed"), needs.kernel("6.18"), own=own) as run:
        outcome = run.run(timeout=timeout, output=wrote.append)
    return outcome, b"".join(wrote)


def assert_all_is_known_until_then(recording: Recording) -> None:
    """The command comes last, so all devices have worked."""
    assert set(recording.of_kind("payload")["status"]) == {"ok"}
    assert len(recording.of_kind("dma_map")) > 1000
    assert recording.platform.lost_events == 0
    checked = check(recording)
    assert [finding for finding in checked.findings if finding.severity != "note"] == []


def test_a_guest_that_dies_leaves_its_trace_its_data_and_what_its_command_wrote() -> None:
    outcome, wrote = booted("sleep 0.3; echo c >/proc/sysrq-trigger", 600)
    assert not outcome.complete
    assert "Kernel panic" in outcome.last_words
    assert wrote == b"before\0\xff"
    assert outcome.recording.of_kind("output")["detail"].to_list() == ["before\0\ufffd"]
    assert_all_is_known_until_then(outcome.recording)


@pytest.mark.slow
def test_so_does_one_that_hangs() -> None:
    outcome, wrote = booted("sleep 0.3; sleep 1000", 45)
    assert outcome.ending == "timeout"
    assert wrote == b"before\0\xff"
    assert_all_is_known_until_then(outcome.recording)


SIZES = (0, 1, 511, 512, 513, 65_536, 70_001, 1_500_000)
LONG = "long" * 30
HAND_OUT = f"""cd /tmp; . /topbit/streams
for size in {" ".join(map(str, SIZES))}; do head -c $size /bin/busybox >of-$size; done
ls of-* | /topbit/outbox tar $out_report || exit 1
echo 1 >one; echo too long >{LONG}; echo unasked >unasked
printf '%s\\n' missing {LONG} /tmp one '' unasked | /topbit/outbox tar $out_report || exit 2
"""
KILL_WHO_HANDS_OUT = "pkill -9 -f 'outbox tar'; sleep 0.1; echo killed"


def test_files_of_every_size_come_out_with_their_names() -> None:
    outcome, _ = booted(HAND_OUT, 600)
    assert (outcome.complete, outcome.command_status) == (True, 0)
    files = outcome.guest.files
    payload = needs.busybox().read_bytes()
    assert {size: files[f"of-{size}"] for size in SIZES} == {n: payload[:n] for n in SIZES}
    assert files["one"] == b"1\n"
    assert files.keys().isdisjoint(("missing", LONG, "unasked"))


def test_what_is_handed_out_needs_no_program_that_lives() -> None:
    outcome, wrote = booted(KILL_WHO_HANDS_OUT, 600)
    assert (outcome.complete, outcome.command_status) == (True, 0)
    assert wrote.endswith(b"killed\n")
    assert_all_is_known_until_then(outcome.recording)
