"""The one state machine that replays a recording: what was mapped, shared, live when?

Belongs here: tables of live mappings, their intervals, the faults and refusals beside what the
tables held then. Does not belong here: verdicts, which are `topbit.rules`.
"""
