"""How is an unmodified arm64 kernel run as a Realm on stock QEMU?

Belongs here: the QEMU process, the EL2 program and its mailbox, the guest's device tree, initramfs
and workload, and the store of kernels and host programs. Does not belong here: RMM or VMM policy;
a trap is handed to `rmm/` and `vmm/`, the same code that serves the model machine.
"""
