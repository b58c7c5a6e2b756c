"""What passes between host and Realm when a REC exits, and when it goes on?

An `Exit` is written to the run page (RmiRecExit); `Resume` is what the vCPU needs to go on.
Source: DEN0137 1.0, RmiRecRun, RmiRecExit.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from topbit.arch.ipa import Pa
from topbit.arch.rmi import ExitReason, Ripas
from topbit.arch.rmi_params import RecExit
from topbit.events import Event
from topbit.rmm.granules import GRANULE, NS, Granules


@dataclass(frozen=True, slots=True)
class Exit:
    """Why did the REC return to the host, and what does the host see? (RmiRecExit)

    Attributes:
        reason: exit_reason.
        esr, far, hpfar: of a SYNC exit, as far as the host may see them. HPFAR holds the whole
            IPA >> 12 << 4, the shared bit included.
        gprs: PSCI and host call arguments; gprs[0] the value of an emulatable write.
        range_base, range_top: what the Realm asks about (RIPAS_CHANGE, DEV_MEM_MAP).
        ripas: the RIPAS that it wants there.
        vdev_id: the device that a call of the Realm is about (2.0).
        dev_mem_pa: where it expects the device's registers (DEV_MEM_MAP).
        imm: host call immediate.
        retry: the Realm's SMC made no progress and is executed again after the next entry.
    """

    reason: ExitReason
    esr: int = 0
    far: int = 0
    hpfar: int = 0
    gprs: tuple[int, ...] = ()
    range_base: int = 0
    range_top: int = 0
    ripas: int = 0
    vdev_id: int = 0
    dev_mem_pa: int = 0
    imm: int = 0
    retry: bool = False


@dataclass(frozen=True, slots=True)
class Resume:
    """With which registers does the vCPU go on?

    Attributes:
        regs: X registers to set, by number; the others stay as they are.
        advance: step over the trapped SMC or load/store; else it is executed (again).
        sea: inject a synchronous external abort into EL1 instead.
        undefined: let EL1 take the trapped instruction as undefined instead.
        pc: entry point of a REC that runs for the first time or was turned on by PSCI.
    """

    regs: dict[int, int] = field(default_factory=dict)
    advance: bool = False
    sea: bool = False
    undefined: bool = False
    pc: int | None = None


NOTHING = Resume()


def write_exit(granules: Granules, run: Pa, exit_: Exit, number: int) -> None:
    """Store an exit in the run page, if the host still owns that page.

    Args:
        number: what the revision calls the reason.
    """
    if not granules.has(run, NS):
        return
    memory = granules.memory
    memory.fill(run + RecExit.BASE, GRANULE - RecExit.BASE)
    memory.write_u64(run + RecExit.REASON, number)
    if exit_.reason == ExitReason.SYNC:
        memory.write(run + RecExit.ESR, struct.pack("<3Q", exit_.esr, exit_.far, exit_.hpfar))
    elif exit_.reason == ExitReason.RIPAS_CHANGE:
        memory.write(
            run + RecExit.RIPAS_BASE,
            struct.pack("<3Q", exit_.range_base, exit_.range_top, exit_.ripas),
        )
    elif exit_.reason in (ExitReason.VDEV_REQUEST, ExitReason.DEV_MEM_MAP):
        memory.write_u64(run + RecExit.VDEV_ID_1, exit_.vdev_id)
        mapping = struct.pack("<3Q", exit_.range_base, exit_.range_top, exit_.dev_mem_pa)
        memory.write(run + RecExit.DEV_MEM_BASE, mapping)
    elif exit_.reason == ExitReason.HOST_CALL:
        memory.write_u64(run + RecExit.IMM, exit_.imm)
    if exit_.gprs:
        gprs = struct.pack(f"<{len(exit_.gprs)}Q", *exit_.gprs)
        memory.write(run + RecExit.GPRS, gprs)


def exit_event(exit_: Exit) -> Event:
    """Which event tells of an exit? `address`: the IPA as the host sees it, shared bit and all."""
    event = Event("rmm", "rmm_exit", status=exit_.reason.name)
    if exit_.reason == ExitReason.SYNC:
        event.address = exit_.hpfar << 8 | exit_.far
        event.detail = f"ESR 0x{exit_.esr:08x}"
    elif exit_.reason in (ExitReason.RIPAS_CHANGE, ExitReason.DEV_MEM_MAP):
        event.phys = exit_.range_base
        event.size = exit_.range_top - exit_.range_base
        device = exit_.reason == ExitReason.DEV_MEM_MAP
        event.attrs = Ripas.DEV.name if device else Ripas(exit_.ripas).name
    return event
