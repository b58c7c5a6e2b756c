"""The QEMU process: its memory, QMP, console and gdb, and how it lives and dies.

Nothing here knows what a Realm is.
"""
