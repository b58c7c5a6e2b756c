"""The ports between QEMU and rmm/, host/ and vmm/: memory, tables, interrupts, device tree.

No policy: that is in topbit.vmm.
"""
