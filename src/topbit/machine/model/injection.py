"""When does the model's host turn to its devices: between a driver's map and the access, and after?

The ring between driver and device is where the machine can stand in the middle of a transfer: the
buffer is mapped, the device has not looked yet.
"""

from __future__ import annotations

from collections.abc import Callable

from topbit.arch.ipa import DmaAddr
from topbit.linux.block import Transport


class WatchedRing:
    """A ring whose every request the host gets to see.

    Args:
        ring: the ring.
        before: is called with the DMA address of a mapped buffer, before the device gets it.
        after: is called when the device has ended the request.
    """

    def __init__(
        self, ring: Transport, before: Callable[[DmaAddr], None], after: Callable[[], None]
    ) -> None:
        self.ring = ring
        self._before = before
        self._after = after

    def probe(self) -> bool:
        """Set the ring up."""
        return self.ring.probe()

    def submit(self, dma_addr: DmaAddr, size: int, sector: int, *, to_device: bool) -> bool:
        """Let the device move [dma_addr, +size)."""
        self._before(dma_addr)
        done = self.ring.submit(dma_addr, size, sector, to_device=to_device)
        self._after()
        return done

    def remove(self) -> None:
        """Give the ring back."""
        self.ring.remove()
