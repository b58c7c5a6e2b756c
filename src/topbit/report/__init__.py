"""How are findings shown?

Belongs here: the report of a recording, one module per form in which it is shown (`forms.py`
registers them), the matrix, the explanation of an address. Does not belong here: verdicts, and
reading or writing recordings. A new output is a new module and a line in `forms.FORMS`.
"""
