"""How the questions are asked in the guest."""

from __future__ import annotations

from topbit.arch.ipa import IpaSpace
from topbit.machine.qemu.guest.ask_module import Op
from topbit.machine.qemu.guest.asking import Ask, script, size_of

NAMES = {"edu0": "0000:00:01.0", "edu1": "0000:00:02.0", "serial8250": "serial8250"}
BUFFER = Ask("edu0", Op.MAP_PAGE, moved_by="edu0")
OTHERS = [
    Ask("edu1", Op.MAP_PAGE, moved_by="edu1"),
    Ask("serial8250", Op.ALLOC, moved_by="edu0"),
    Ask("edu0", Op.ALLOC, 32),
]


def test_each_question_has_a_size_of_its_own() -> None:
    assert [size_of(number) for number in (1, 2, 100)] == [528, 544, 2112]


def test_devices_are_made_ready_before_they_are_asked_for() -> None:
    lines = script([BUFFER, *OTHERS], NAMES, IpaSpace(41)).splitlines()
    told = [
        line
        for line in lines
        if line.startswith(("ask ", "cd ")) or line.endswith("/drivers_probe")
    ]
    assert told == [
        "cd /sys/bus/pci/devices/0000:00:01.0 || exit 1",
        "echo 0000:00:01.0 >/sys/bus/pci/drivers_probe",
        "ask 1 edu0",
        "ask 4",
        "cd /sys/bus/pci/devices/0000:00:02.0 || exit 1",
        "echo 0000:00:02.0 >/sys/bus/pci/drivers_probe",
        "ask 2 edu1",
        "cd /sys/bus/pci/devices/0000:00:01.0 || exit 1",
        "ask 3 edu0",
    ]
    assert lines[-1] == "dmesg | grep 'topbit-ask:'"


def test_the_device_copies_what_stands_there() -> None:
    text = script([BUFFER], NAMES, IpaSpace(41))
    assert "move 0x$addr 0x40000 1\n" in text
    assert "move 0x40000 $(printf 0x%x $((0x$addr + 64))) 3\n" in text
    assert "usleep 300000" not in text
