"""The table as a whole."""

import pytest

from topbit.errors import UsageError
from topbit.report.dma_table import DmaTable


def table(kernel: str, against: str | None = None, *schemes: str) -> DmaTable:
    return DmaTable.of(kernel, against, 41, schemes)


def test_a_table_alone_has_nothing_to_compare() -> None:
    alone = table("7.3", None, "none")
    assert alone.differences() == []
    assert str(alone).startswith("Linux 7.3: the address a device is given")


def test_a_kernel_that_cannot_be_a_realm_is_refused() -> None:
    with pytest.raises(UsageError, match=r"6\.12 cannot be a Realm.*6\.13"):
        table("6.12", None, "arm-cca")
