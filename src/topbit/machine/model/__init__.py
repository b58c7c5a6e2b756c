"""The model machine: a platform whose guest is a Python model of Linux (`topbit.linux`).

Belongs here: putting the rooms of a platform together, its vCPU, the workload, injected faults.
Does not belong here: what RMM, VMM, SMMU or kernel decide, and anything of `machine/qemu/`.
"""
