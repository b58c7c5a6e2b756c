"""Bit-exact formats of the architecture: which bit means what, and which number names what.

Belongs here: stage-2 descriptors (VMSAv8-64), SMMUv3 structures and registers, RMI, RSI and PSCI
numbers and structures, granule protection table entries, and the helper that declares bit fields.
Does not belong here: behaviour. Nothing here walks a table, holds a state or checks a policy.
"""
