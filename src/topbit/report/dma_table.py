"""Which address is a device given, for each platform, device and kind of memory?

The rows come from `machine/model/dma_table.py`, which runs the model for each.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from topbit.addressing.kernel_policy import DIFFERENCES, policy_for
from topbit.addressing.scheme import SCHEMES
from topbit.errors import UsageError
from topbit.machine.model.dma_table import rows
from topbit.report.dma_compare import ComparedRows
from topbit.report.dma_table_forms import render


class DmaTable(ComparedRows):
    """Which address does a device get, with one kernel or with two that are compared?

    `str(table)` is the table as text; its attributes are those of `ComparedRows`.
    """

    __slots__ = ()

    @classmethod
    def of(cls, kernel: str, against: str | None, ipa_bits: int, schemes: Iterable[str]) -> Self:
        """Which table has this kernel? See `topbit.table`.

        Raises:
            UsageError: no such kernel, width or platform, or the kernel runs on none of them.
        """
        wanted = tuple(schemes) or tuple(SCHEMES)
        mine = tuple(rows(kernel, ipa_bits=ipa_bits, schemes=wanted))
        if not mine:
            raise UsageError(
                f"Linux {policy_for(kernel)} cannot be a Realm",
                where="kernel",
                hint=f"the first that can is {DIFFERENCES['realm_guest'].dated}",
            )
        if against is None:
            return cls(policy_for(kernel), ipa_bits, mine)
        other = tuple(rows(against, ipa_bits=ipa_bits, schemes=wanted))
        return cls(policy_for(kernel), ipa_bits, mine, policy_for(against), other)

    def render(self, form: str) -> str:
        """Which text shows it? `form`: "text", "markdown" or "json"."""
        return render(self, form)

    def __str__(self) -> str:
        return self.render("text").rstrip("\n")
