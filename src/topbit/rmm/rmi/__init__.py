"""What the host asks of the RMM: a file per group of RMI calls, named as in TF-RMM.

Each handler takes the RMM's state and the call's arguments, and returns X0 and up.
"""
