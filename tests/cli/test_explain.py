"""Which address, and which width, does a command line mean?"""

from typing import Any

import pytest

from paths import DATA
from report_schema import valid_explanation
from topbit.cli import main
from topbit.cli.explain import event_of, to_address, width_for
from topbit.errors import UsageError

ALIAS = 0x100_433C_E000


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0x100433ce000", ALIAS),
        ("100433CE000", ALIAS),
        ("0X10", 0x10),
        ("0x1_0000", 0x1_0000),
        ("0", 0),
        ("ffffffffffffffff", (1 << 64) - 1),
        # As it is copied from a line
        ("dma_addr=100433ce000", ALIAS),
        ("iova=0x100433ce000,", ALIAS),
        ("{0x100433ce000}", ALIAS),
    ],
)
def test_an_address_is_hexadecimal(text: str, value: int) -> None:
    assert to_address(text) == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nvme0", "'nvme0' is no address"),
        ("", "'' is no address"),
        ("0x", "'0x' is no address"),
        ("10000000000000000", "does not fit 64 bits"),
        ("-1", "does not fit 64 bits"),
        ("-0", "does not fit 64 bits"),
    ],
)
def test_what_is_no_address_is_refused(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        to_address(text)


def test_the_width_is_the_one_given() -> None:
    assert width_for(ALIAS, 48) == (48, "")


@pytest.mark.parametrize(
    ("address", "width"), [(1 << 31, 32), ((1 << 32) - 1, 32), (ALIAS, 41), (1 << 51, 52)]
)
def test_without_a_width_the_top_bit_is_taken_for_the_shared_bit(address: int, width: int) -> None:
    note = f"assuming that its top bit, bit {width - 1}, is the shared bit"
    assert width_for(address, None) == (width, note)


@pytest.mark.parametrize("address", [0, (1 << 31) - 1, 1 << 52, (1 << 64) - 1])
def test_an_address_that_shows_no_width_needs_one(address: int) -> None:
    with pytest.raises(UsageError, match="--ipa-bits"):
        width_for(address, None)


LOGS = str(DATA / "recordings" / "vmm-maps-protected-half")
RECORD = ["0x0000001000000010", "0x0000028800000000", "0x00000100433ce000", "0x00000100433ce000"]
MAP = (
    "nvme-5 [000] ..... 1.0: dma_map_phys: 0000:00:02.0 dir=TO_DEVICE dma_addr=10097200000 "
    "size=4096 phys_addr=84570000 attrs="
)
BOUNCED = (
    "nvme-5 [000] ..... 1.0: swiotlb_bounced: dev_name: 0000:00:02.0 dma_mask=ffffffffffffffff "
    "dev_addr=8463dc000 size=4096 FORCE"
)
AMD = (
    "[    9.0] AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x000a address=0xdf800000 flags=0x0000 "
    "device=0000:01:00.0]"
)


@pytest.mark.parametrize(
    ("words", "address"),
    [
        (RECORD, ALIAS),
        ([" ".join(RECORD)], ALIAS),
        ([MAP], 0x100_9720_0000),
        (MAP.split(), 0x100_9720_0000),
        ([AMD], 0xDF80_0000),
        (["dma_free: a dma_addr=0 size=1"], None),
    ],
)
def test_a_line_or_a_record_tells_its_address(words: list[str], address: int | None) -> None:
    event = event_of(words)
    assert (event.address if event else None) == address


@pytest.mark.parametrize("words", [["0x100433ce000"], ["zz"], ["ffffffffffffffff"]])
def test_one_word_is_an_address_or_nothing(words: list[str]) -> None:
    assert event_of(words) is None


def explained(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["explain", *words, "--format", "json"]) == 0
    return valid_explanation(capsys.readouterr().out)


def test_an_address_in_a_recording_has_a_story(capsys: pytest.CaptureFixture[str]) -> None:
    told = explained(capsys, "0x1007ac61002", "--in", LOGS)
    assert (told["ipa_bits"], told["half"]) == (41, "unprotected")
    (story,) = told["story"]
    assert [(e["agent"], e["event"], e["count"]) for e in story["episodes"]] == [
        ("guest", "dma_alloc", 1), ("smmu", "smmu_event", 8), ("smmu", "smmu_event", 2),
    ]  # fmt: skip
    assert [finding["rule"] for finding in story["findings"]] == ["F1"]


def test_a_record_in_a_recording_gets_its_devices_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *RECORD, "--in", LOGS]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("smmu_event 0000:00:02.0 StreamID 0x10 read address=0x00000100433ce")
    assert shown[1] == "  tells       An IOMMU refused a device's access."
    assert "  judged    VIOLATION F1  the VMM did not map the unprotected alias" in shown


@pytest.mark.parametrize(
    ("words", "half", "note"),
    [
        ([MAP], "unprotected", "assuming that its top bit, bit 40, is the shared bit"),
        ([MAP, "--ipa-bits", "48"], "protected", None),
        # What tells of trouble may be of any machine.
        ([AMD], None, "in which half it lies is not known without --ipa-bits N"),
        ([AMD, "--ipa-bits", "33"], "protected", None),
        (["0x1000", "--in", LOGS], "protected", "the recording's width"),
        (["0x1000", "--in", LOGS, "--ipa-bits", "48"], "protected", None),
        # A buffer's own address has no shared bit, nor has what lies below 4 GiB.
        ([BOUNCED], None, "in which half it lies is not known without --ipa-bits N"),
        ([MAP.replace("10097200000", "97200000")], None,
         "in which half it lies is not known without --ipa-bits N"),
        ([MAP.replace("84570000", "10184570000")], None,
         "in which half it lies is not known without --ipa-bits N"),
        ([MAP.replace("84570000", "8184570000")], "unprotected",
         "assuming that its top bit, bit 40, is the shared bit"),
        (["0"], None, None),
        (["ffffffffffffffff"], None, None),
    ],
)  # fmt: skip
def test_how_the_width_is_known(
    words: list[str], half: str | None, note: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explained(capsys, *words).get("half") == half
    assert main(["explain", *words]) == 0
    shown = capsys.readouterr().out
    assert [line[14:] for line in shown.splitlines() if line.startswith("  note  ")] == (
        [note] if note else []
    )


def test_a_width_that_no_recording_tells_leaves_the_story(
    tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    log.write_text(AMD + "\n")
    told = explained(capsys, "0xdf800", "--in", str(log))
    assert told["half"] is None
    assert explained(capsys, "df800123", "--in", str(log))["story"][0]["episodes"]


FACTS = {
    "[    0.0] RME: Using RSI version 1.0": ("The guest is an Arm CCA Realm", None),
    "Nov 12 11:02:00 vm kernel: software IO TLB: mapped [mem 0x000000007ac00000-0x000000007ec00000]"
    " (64MB)": ("A bounce pool (swiotlb) lies there", "0x000000007ac00000"),
    "[    0.0]   node   0: [mem 0x0000000040000000-0x00000000bfffffff]": (
        "RAM of this machine", "0x0000000040000000",
    ),
    "Linux version 7.3.4 (a@b) (gcc) #1 SMP": ("the kernel's release", None),
    "earlycon: pl11 at MMIO 0x0000010001000000 (options '')": (
        "a Realm's at the alias of its UART", "0x0000010001000000",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("line", "expected"), FACTS.items(), ids=FACTS.keys())
def test_a_line_that_tells_a_fact_is_explained_too(
    line: str, expected: tuple[str, str | None], capsys: pytest.CaptureFixture[str]
) -> None:
    told = explained(capsys, line)
    assert expected[0] in told["said"]["tells"]
    assert (told["said"]["text"], told["address"], told["half"]) == (line, expected[1], None)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["dma_free: a dma_addr=0 size=1"], "tells no event of DMA that a reader knows"),
        (["hello world"], "hello world: tells no event of DMA that a reader knows"),
        (["0x7f", "0", "0", "0"], "record 0 has type 0x7f"),
        (["0x1000"], "does not show the width of the IPA space"),
        (["0x1000", "--in", "/nonexistent"], "cannot read"),
        (["\x1b[2J x"], r"\x1b[2J x: tells no event"),
    ],
)
def test_what_cannot_be_explained_is_one_line(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert says in err
