"""The model machine: a platform whose guest is a Python model of Linux (`topbit.linux`).

Nothing here decides what RMM, VMM, SMMU or kernel do, and nothing is shared with machine/qemu.
"""
