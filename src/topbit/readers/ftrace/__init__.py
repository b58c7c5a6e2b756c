"""Text of ftrace's events, in the forms that tools print: the line, and each event's body.

Belongs here: what the text of one event says. Does not belong here: trace.dat (`trace_dat`),
which uses the bodies' handlers for its rare events.
"""
