"""The table as text, as Markdown and as JSON."""

import functools
import json

import pytest

from topbit.addressing.kernel_policy import PROPOSALS
from topbit.report.dma_table import DmaTable
from topbit.report.dma_table_forms import render

KERNELS = ["6.12", "6.14.0", "7.2", "7.3", "7.4", *PROPOSALS]


@functools.cache
def table(kernel: str, against: str | None = None, *schemes: str, bits: int = 41) -> DmaTable:
    return DmaTable.of(kernel, against, bits, schemes)


@pytest.mark.parametrize("form", ["text", "markdown"])
@pytest.mark.parametrize("bits", [41, 52])
@pytest.mark.parametrize("kernel", KERNELS)
def test_no_line_is_longer_than_72_columns(kernel: str, bits: int, form: str) -> None:
    for shown in (table(kernel, bits=bits), table(kernel, "7.1", bits=bits)):
        assert [line for line in render(shown, form).splitlines() if len(line) > 72] == []


def test_text() -> None:
    lines = render(table("7.3", None, "arm-cca"), "text").splitlines()
    assert lines[0] == "Linux 7.3: the address a device is given"
    assert lines[6:12] == [
        "arm-cca: bit 40 set means shared",
        "mapping             device          address           example",
        "buffer              T=0             B|S[1]            0x0000010080100000",
        "buffer              T=1             B|S[2]            0x0000010080100000",
        "buffer              32-bit          error[3]          swiotlb overflow",
        "buffer              vIOMMU          !IOVA[7]          0x00000000fffff000",
    ]
    assert "[1] Disputed. Whether addresses of T=0 devices" in "\n".join(lines)
    assert "[10]" not in "\n".join(lines)  # a note on no row of this table


def test_markdown() -> None:
    lines = render(table("7.3", None, "arm-cca"), "markdown").splitlines()
    assert lines[0] == "## Linux 7.3: the address a device is given"
    assert "| mapping | device | address | example |" in lines
    assert "| buffer | T=0 | B\\|S[1] | 0x0000010080100000 |" in lines


def test_devices_that_are_all_alike_are_any() -> None:
    assert "REQUIRE_COHERENT    any " not in render(table("7.3"), "text")
    text = render(table("7.2", None, "arm-cca"), "text")
    assert "CC_SHARED           vIOMMU          error             no message" in text
    # 6.15 without attributes: whoever asks for MMIO is given it as it is
    assert "T=0 T=1 32-bit  P " in render(table("6.15", None, "arm-cca"), "text")


def test_a_refused_virtio_device() -> None:
    text = render(table("7.3", None, "intel-tdx"), "text")
    assert "virtio, bypassing   T=0             error             refused" in text


def test_what_changed() -> None:
    lines = render(table("7.3", "7.2", "arm-cca"), "text").splitlines()
    assert lines[0] == "Linux 7.2 and 7.3: what a device is given differently"
    at = lines.index("  MMIO|CC_SHARED: T=0 T=1")
    assert lines[at + 1 : at + 3] == [
        "    7.2  P  0x0000000050000000",
        "    7.3  P|S  0x0000010050000000",
    ]
    at = lines.index("  MMIO: T=0 T=1 32-bit")
    assert lines[at + 1 : at + 3] == [
        "    7.2  error, no message",
        "    7.3  error, DMA addr overflow",
    ]
    assert "* 7.3: dma_capable() refuses private memory" in "\n".join(lines)


def test_what_only_one_kernel_knows() -> None:
    lines = render(table("7.1", "7.2", "none"), "text").splitlines()
    at = lines.index("  CC_SHARED: T=0 32-bit vIOMMU")
    assert lines[at + 1 : at + 3] == ["    7.2  error, no message", "    7.1  no such request"]
    assert "* 7.2: DMA_ATTR_CC_SHARED" in "\n".join(lines)


def test_nothing_changed() -> None:
    text = render(table("7.3.1", "7.3", "none"), "text")
    assert "No row differs.\n\nThe two kernels have no named difference.\n" in text


def test_json() -> None:
    document = json.loads(render(table("7.3", "7.2", "arm-cca"), "json"))
    assert (document["kernel"], document["against"], document["ipa_bits"]) == ("7.3", "7.2", 41)
    assert document["rows"][0] == {
        "scheme": "arm-cca",
        "device": "T=0",
        "mapping": "buffer",
        "kind": "bounced",
        "formula": "B|S",
        "address": "0x0000010080100000",
        "said": "",
        "reaches": True,
        "notes": [1],
    }
    assert document["notes"][0]["number"] == 1
    assert document["notes"][0]["disputed"] is True
    assert {change["mapping"] for change in document["changes"]} >= {"MMIO", "REQUIRE_COHERENT"}
    first = document["changes"][0]
    assert (first["schemes"], first["devices"]) == (["arm-cca"], ["32-bit"])
    assert next(d["name"] for d in document["differences"]) == "capable_by_attrs"
    assert json.loads(render(table("7.3", None, "none"), "json"))["changes"] == []
