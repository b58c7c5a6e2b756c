"""How attributes are shown."""

import pytest

from topbit.linux.dma_attrs import NO_ATTRS, DmaAttr, shown


@pytest.mark.parametrize(
    ("attrs", "text"),
    [
        (NO_ATTRS, None),
        (DmaAttr.MMIO, "MMIO"),
        (DmaAttr.CC_SHARED | DmaAttr.MMIO, "MMIO|CC_SHARED"),
    ],
)
def test_attributes_as_traces_show_them(attrs: DmaAttr, text: str | None) -> None:
    assert shown(attrs) == text


def test_the_values_are_the_kernels() -> None:
    # include/linux/dma-mapping.h, 7.3
    bits = {attr.name: attr.value.bit_length() - 1 for attr in DmaAttr}
    assert bits == {
        "SKIP_CPU_SYNC": 5,
        "NO_WARN": 8,
        "MMIO": 10,
        "REQUIRE_COHERENT": 12,
        "CC_SHARED": 13,
    }
