"""Regular lines of text, read in bulk: arithmetic on the bytes of many of them at once.

Belongs here: which lines are of the usual form, and what their columns are, without a Python
object for each. Does not belong here: what a line means. Whatever is not certain to be of the usual
form is left to the readers that go line by line, which alone decide that.
"""
