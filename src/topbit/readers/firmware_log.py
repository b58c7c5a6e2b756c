"""Which lines does only firmware print: TF-A, the RMM, U-Boot, UEFI?

Sources: TF-A common/tf_log.c ("NOTICE:  BL1: …"), TF-RMM lib/debug ("RMM: …", "SMC_RMI_…"),
U-Boot's banner, EDK2 MdeModulePkg and ArmPlatformPkg.
"""

from __future__ import annotations

SIGNS = (
    "NOTICE:  BL", "INFO:    BL", "NOTICE:  Booting Trusted", "Booting RMM", "RMM-EL2", "SMC_RMI_",
    "SMC_RMM_", "SMC_RSI_", "U-Boot ", "UEFI firmware (version", "EDK II", "BdsDxe: ",
    "UEFI Interactive", "Loading driver at 0x", "InstallProtocolInterface",
)  # fmt: skip


def is_sign(line: str) -> bool:
    """Would only firmware print this line?"""
    return any(sign in line for sign in SIGNS)
