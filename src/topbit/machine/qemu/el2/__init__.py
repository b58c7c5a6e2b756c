"""The policy-free program at EL2, its mailbox, and what Python asks the vCPUs through it.

Belongs here: the program's traps as numbers, the vCPUs' registers, the CPU models.
Does not belong here: who answers a trap, which is in `rmm/` and in `machine/qemu/host/`.
"""
