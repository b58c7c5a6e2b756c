"""The ports between QEMU and rmm/, host/ and vmm/: memory, tables, interrupts, device tree.

Belongs here: where in QEMU's memory what lies, and carrying out there what those rooms decide.
Does not belong here: policy, which is in `topbit.vmm`.
"""
