"""What does a syndrome (ESR_ELx) of a stage-2 abort say?

Source: DDI0487, ESR_EL2: exception classes and the ISS of data and instruction aborts.
"""

from __future__ import annotations

ESR_EC = 0x3F << 26
EC_INSTRUCTION_ABORT = 0x20 << 26
EC_DATA_ABORT = 0x24 << 26

ESR_ISV = 1 << 24  # the syndrome describes the load or store: [23:14] are valid
ESR_SAS = 3 << 22  # log2 of the bytes
ESR_SSE = 1 << 21  # the load extends the sign
ESR_SRT_SHIFT = 16  # the register, 31 for XZR
ESR_SF = 1 << 15  # the register is 64 bits wide
ESR_WNR = 1 << 6  # a store

ESR_FSC = 0x3F
FSC_TRANSLATION = 0x04  # | level
FSC_PERMISSION = 0x0C  # | level
FSC_EXTERNAL_ABORT = 0x10
