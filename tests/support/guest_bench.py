"""The modelled kernel's DMA layer on a vCPU to order: memory, pool, dma-direct, the DMA API."""

from __future__ import annotations

from guest_cpu import PAGE, RAM, RAM_SIZE, GuestCpu
from topbit.addressing.kernel_policy import policy_for
from topbit.events import Event
from topbit.linux.device import Device
from topbit.linux.kernel import GuestConfig, Kernel
from topbit.recording.trouble import TROUBLE_KINDS

POOL_SIZE = 1 << 20
POOL = RAM + RAM_SIZE - POOL_SIZE
BUFFER = RAM + 64 * PAGE


class GuestBench:
    """A booted kernel, and what it said since.

    Attributes:
        events: what it emitted after the boot.
    """

    def __init__(self, release: str = "7.3", *, boot: bool = True, **config: bool) -> None:
        self.cpu = GuestCpu()
        self.events: list[Event] = []
        self.kernel = Kernel(
            self.cpu,
            GuestConfig(policy_for(release), RAM, RAM_SIZE, POOL_SIZE, **config),
            self.events.append,
        )
        if boot:
            self.kernel.boot()
            self.forget()

    def forget(self) -> None:
        self.events.clear()
        self.cpu.calls.clear()

    def device(self, mask_bits: int = 64, **properties: object) -> Device:
        mask = (1 << mask_bits) - 1
        return self.kernel.device("nvme0", dma_mask=mask, **properties)  # type: ignore[arg-type]

    def logs(self) -> list[str]:
        return [event.detail or "" for event in self.events if event.event in TROUBLE_KINDS]

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.events if event.event == kind]
