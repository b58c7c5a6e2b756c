"""Regular lines of text, read in bulk: arithmetic on the bytes of many of them at once.

No Python object is made for a line.

Belongs here: which lines are of the usual form, and what their columns are. What is not certain to
be so is left to the readers that go line by line, which alone decide what a line means.
"""
