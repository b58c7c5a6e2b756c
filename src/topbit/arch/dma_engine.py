"""How are the registers and commands of the model's DMA engine laid out?

A device of topbit's own, as plain as a DMA master can be: the driver stores a command in coherent
memory and rings the doorbell; the device fetches the command by DMA, moves the data, stores the
status by DMA, and writes an MSI if it was given an address for one. Nothing else masters the bus,
so every access can be told apart.
"""

from __future__ import annotations

RING_LOW, RING_HIGH, DOORBELL, MSI_LOW, MSI_HIGH = 0x0, 0x4, 0x8, 0xC, 0x10

COMMAND_PAGE = 4096
COMMAND = "<IIQQQ"  # opcode, length, dma_addr, sector, status
COMMAND_SIZE = 32
STATUS_OFFSET = 24

READ_MEMORY, WRITE_MEMORY = 1, 2  # the device reads memory (disk write), writes memory
PENDING, DONE, FAILED = 0, 1, 2
