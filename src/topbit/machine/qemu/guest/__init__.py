"""What runs in the guest, and what it reports: init, steps of work, devices, logs.

Nothing here decides what is right: that is in topbit.rules.
"""
