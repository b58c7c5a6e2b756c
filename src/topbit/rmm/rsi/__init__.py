"""What the Realm asks of the RMM: RSI and PSCI, a file per group of calls.

Belongs here: handlers, each of which takes the RMM's state, the REC and its registers and returns
`Resume` or `Exit`.
Does not belong here: calls of the host (`rmm/rmi/`), and when a guest makes which (`topbit.linux`).
"""
