"""How is an unmodified arm64 kernel run as a Realm on stock QEMU?

Belongs here: the QEMU process, the EL2 program and its mailbox, the ports to RMM, VMM and SMMU,
what runs in the guest. Does not belong here: RMM or VMM policy, fetching kernels and programs;
a trap is handed to `rmm/` and `vmm/`, the same code that serves the model machine.
"""
