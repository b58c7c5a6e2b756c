"""The QEMU process: its memory, QMP, console and gdb, and how it lives and dies.

Belongs here: QEMU's options and channels, what the system must give it.
Does not belong here: what a Realm is.
"""
