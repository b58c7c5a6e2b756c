"""The policy-free program at EL2, its mailbox, and what Python asks the vCPUs through it.

A trap arrives here as numbers and leaves as numbers; who answers it is in rmm/ and in ../host.
"""
