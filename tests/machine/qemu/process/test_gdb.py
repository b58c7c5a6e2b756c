"""Can a debugger stop the Realm at an address and see its registers and memory?"""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest

import needs
import payload_guest
from topbit.machine.qemu.host.shape import RealmShape
from topbit.machine.qemu.machine import QemuMachine
from topbit.machine.qemu.process import gdb

ENTRY = 0x4020_0000


@pytest.mark.qemu
def test_a_debugger_stops_the_guest_at_its_entry(tmp_path: Path) -> None:
    debugger = needs.tool("gdb")
    port = gdb.free_port()
    shape = RealmShape(ram=payload_guest.RAM)
    guest = payload_guest.image(shape, rounds=100)
    script = tmp_path / "script"
    script.write_text(
        f'hbreak *0x{ENTRY:x}\ncontinue\nprintf "stopped at %lx\\n", $pc\n'
        f'printf "rounds %ld\\n", *(long *)0x{ENTRY + 16:x}\n'
        'printf "hcr %lx\\n", $HCR_EL2\ndelete\ndetach\n'
    )
    with QemuMachine(
        shape, guest, program=Path(needs.tool("qemu")), options=tuple(gdb.options(port))
    ) as machine:
        result = []
        words = gdb.command(port, gdb=debugger)

        def attach() -> None:
            done = subprocess.run(
                f"{words} -batch -nx -x {script}",
                shell=True,
                capture_output=True,
                text=True,
                timeout=60,
            )
            result.append(done.stdout + done.stderr)

        thread = threading.Thread(target=attach)
        thread.start()
        run = machine.run(timeout=60)
        thread.join()
    assert f"stopped at {ENTRY:x}" in result[0], result[0]
    assert "rounds 100" in result[0], result[0]
    assert run.ending == "power off"
    assert payload_guest.verdict(run).rounds == 100
