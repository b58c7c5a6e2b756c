"""What came out of a check, as text, JSON and for b4."""

import json

import pytest

from topbit.kernel_tree.harness import Build
from topbit.kernel_tree.judge import Fault, Judgement
from topbit.report.kernel_check import KernelCheck

ENCODING = Fault(
    "page-table encoding", "violation", "the bit is encoded", "arch/rsi.c:7",
    0x4000_0000, 0x4000_0100, 1 << 50 | 0x4000_0000,
    [(Build(12, 52), 51), (Build(12, 52), 52), (Build(16, 52), 49)],
)  # fmt: skip
TABLES = Fault(
    "page tables", "warning", "the bit is raw", "arch/rsi.c:7",
    1 << 50, 1 << 50, 0x100, [(Build(12, 52), 51)],
)  # fmt: skip


def judgement(*faults: Fault) -> Judgement:
    return Judgement("7.9.1", "alias", "arch/rsi.c", faults, 1234)


def test_a_tree_with_a_fault() -> None:
    check = KernelCheck("linux", judgement(ENCODING))
    assert (check.ok, check.exit_status) == (False, 1)
    assert str(check).splitlines() == [
        "subject     linux, Linux 7.9.1",
        "convention  alias: shared memory has the shared bit in its device address",
        "Realm code  arch/rsi.c",
        "asked       1234 addresses, 32 to 52 IPA bits, with and without dma-ranges",
        "",
        "VIOLATION  page-table encoding",
        "  what      the bit is encoded",
        "  at        arch/rsi.c:7",
        "  asked     0x0000000040000000",
        "  answered  0x0000000040000100",
        "  expected  0x0004000040000000 (bit 50, the shared bit)",
        "  in        4K pages, 52-bit addresses: 51 to 52 IPA bits",
        "            64K pages, 52-bit addresses: 49 IPA bits",
        "",
        "verdict: 1 violation",
    ]


def test_a_patch_that_mends_one_thing_and_brings_another() -> None:
    check = KernelCheck("x on linux", judgement(ENCODING), judgement(TABLES))
    assert ([f.name for f in check.mended], [f.name for f in check.brought]) == (
        ["page tables"],
        ["page-table encoding"],
    )
    lines = str(check).splitlines()
    assert lines[4:7] == [
        "before      alias; page tables",
        "mends       page tables",
        "brings      page-table encoding",
    ]


def test_a_patch_that_leaves_all_as_it_was() -> None:
    check = KernelCheck("x on linux", judgement(), judgement())
    assert check.ok
    assert str(check).splitlines()[4:] == [
        "before      alias; no fault",
        "mends       nothing",
        "brings      nothing",
        "",
        "verdict: no violation",
    ]


@pytest.mark.parametrize(
    ("faults", "status", "summary", "exit_status"),
    [
        ((), "pass", "kept", 0),
        ((TABLES,), "warn", "page tables", 0),
        ((TABLES, ENCODING), "fail", "page tables, page-table encoding", 1),
    ],
)
def test_for_b4(faults: tuple[Fault, ...], status: str, summary: str, exit_status: int) -> None:
    check = KernelCheck("linux", judgement(*faults))
    (told,) = json.loads(check.render("b4"))
    assert told == {
        "tool": "topbit",
        "status": status,
        "summary": f"DMA address convention: {summary}",
        "details": str(check),
    }
    assert check.exit_status == exit_status


def test_two_violations_are_counted() -> None:
    assert str(KernelCheck("x", judgement(ENCODING, ENCODING))).endswith("verdict: 2 violations")


def test_json() -> None:
    document = json.loads(KernelCheck("x", judgement(ENCODING), judgement(TABLES)).render("json"))
    assert {key: document[key] for key in ("subject", "release", "convention", "asked", "ok")} == {
        "subject": "x",
        "release": "7.9.1",
        "convention": "alias",
        "asked": 1234,
        "ok": False,
    }
    (fault,) = document["faults"]
    assert fault["shown"][0] == {"build": "4K pages, 52-bit addresses", "ipa_bits": 51}
    assert (fault["answered"], fault["place"]) == ("0x0000000040000100", "arch/rsi.c:7")
    assert document["before"]["faults"][0]["name"] == "page tables"
    assert (document["brought"], document["mended"]) == (["page-table encoding"], ["page tables"])
    alone = json.loads(KernelCheck("x", judgement()).render("json"))
    assert (alone["before"], alone["brought"]) == (None, [])
