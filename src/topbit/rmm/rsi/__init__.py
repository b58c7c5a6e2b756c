"""What the Realm asks of the RMM: RSI and PSCI, a file per group of calls.

Each handler takes the RMM's state, the REC and its registers, and returns `Resume` or `Exit`.
"""
