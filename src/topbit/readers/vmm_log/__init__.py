"""What do the logs and traces of virtual machine monitors tell? A module for each kind of VMM.

Belongs here: QEMU, kvmtool, and the VMMs of the rust-vmm family, as they print to stderr or to
their own log. Does not belong here: a guest's console that a VMM copies (`readers.kernel_log`).
"""
