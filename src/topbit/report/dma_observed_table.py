"""Does a real kernel give devices what the table says? The whole, to be shown."""

from __future__ import annotations

from topbit.report.dma_observed import ObservedBoots
from topbit.report.dma_observed_forms import render


class ObservedTable(ObservedBoots):
    """What did a kernel do, beside what the table says?

    `str(table)` is the report as text; its attributes are those of `ObservedBoots`.
    """

    __slots__ = ()

    def render(self, form: str) -> str:
        """Which text shows it? `form`: "text", "markdown" or "json"."""
        return render(self, form)

    def __str__(self) -> str:
        return self.render("text").rstrip("\n")
