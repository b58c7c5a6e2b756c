"""Which facts and which trouble does a kernel log tell? A module for each family of messages.

Belongs here: patterns of messages, each with the function that prints it. A family lists NEEDLES,
one of which stands in each of its lines, so that other lines cost nothing.
Does not belong here: what stands around a message (`readers.wrapping`), whose log it is
(`readers.roles`), verdicts.
"""
