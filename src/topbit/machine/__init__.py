"""What runs a scenario and makes a recording of it?

Belongs here: the model machine and the QEMU machine, each as one agent's hands: processes, memory,
boot, time. Does not belong here: what the RMM, the VMM or the SMMU decide; both machines use the
same `rmm/`, `vmm/` and `smmu/` for that.
"""
