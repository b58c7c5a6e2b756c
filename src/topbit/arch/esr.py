"""What does a syndrome (ESR_ELx) say that a Realm's CPU traps with?

Source: DDI0487, ESR_EL2: exception classes, the ISS of data and instruction aborts, and that of a
trapped WFI or WFE.
"""

from __future__ import annotations

ESR_EC = 0x3F << 26
EC_WFX = 0x01 << 26
EC_INSTRUCTION_ABORT = 0x20 << 26
EC_DATA_ABORT = 0x24 << 26

ESR_WFX_TI = 1 << 0  # of EC_WFX: a WFE, not a WFI

ESR_IL = 1 << 25  # a 32-bit instruction
ESR_ISV = 1 << 24  # the syndrome describes the load or store: [23:14] are valid
ESR_SAS_SHIFT = 22
ESR_SAS = 3 << ESR_SAS_SHIFT  # log2 of the bytes
ESR_SSE = 1 << 21  # the load extends the sign
ESR_SRT_SHIFT = 16  # the register
ESR_SF = 1 << 15  # the register is 64 bits wide
ESR_CM = 1 << 8  # cache maintenance
ESR_S1PTW = 1 << 7  # the access of a stage 1 walk
ESR_WNR = 1 << 6  # a store
XZR = 31

ESR_FSC = 0x3F
FSC_TRANSLATION = 0x04  # | level
FSC_PERMISSION = 0x0C  # | level
FSC_EXTERNAL_ABORT = 0x10


def access_bytes(esr: int) -> int:
    """How many bytes does the load or store of a syndrome with ISV move?"""
    return 1 << (esr >> ESR_SAS_SHIFT & 3)


def register(esr: int) -> int:
    """Which X register does the load or store of a syndrome with ISV move? (XZR: none)"""
    return esr >> ESR_SRT_SHIFT & 31
