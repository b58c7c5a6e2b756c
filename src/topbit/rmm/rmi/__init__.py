"""What the host asks of the RMM: a file per group of RMI calls, named as in TF-RMM.

Belongs here: handlers, each of which takes the RMM's state and the call's arguments and returns X0
and up.
Does not belong here: calls of the Realm (`rmm/rsi/`), and when a host makes which (`topbit.host`).
"""
