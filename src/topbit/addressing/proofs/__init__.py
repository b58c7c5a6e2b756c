"""Does a statement about the address helpers hold for every address, width and dma-range?

Belongs here: the statements (lemmas), and what evaluates topbit's own functions on unknown numbers
and asks z3. What is proved is the code that runs, not a copy of it.
Does not belong here: address arithmetic. Needs the extra `proofs` (z3-solver).
"""
