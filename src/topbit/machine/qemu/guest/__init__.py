"""What runs in the guest, and what it reports: init, steps of work, devices, logs.

Belongs here: the initramfs and what stands in it, a user's own system, the guest's report and what
can be told from it.
Does not belong here: what is right, which is in `topbit.rules`, and starting QEMU.
"""
