"""`python -m topbit` is the command `topbit`."""

from topbit.cli import command

command()
