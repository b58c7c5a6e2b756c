"""Addresses have types, ranges a size, and the shared bit one place: source code keeps to that."""

from pathlib import Path

import pytest

import topbit
from address_rules import Found, arithmetic, calls, ends, untyped

SOURCE = Path(topbit.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
TYPED_ROOMS = ("rmm", "smmu", "host", "vmm", "linux", "devices")

# The shared bit is arithmetic there, and nowhere else.
ITS_ROOMS = ("arch/ipa.py", "addressing/")
ITS_PLACES = {
    ("vmm/vfio.py", "VfioContainer.iovas"),
    ("vmm/dma.py", "EmulatedDma.canonical"),
    # the third, phys_to_dma_unencrypted, is in addressing/
}
EXCEPT = {
    ("rmm/rmi/run.py", "_emulated"): "the sign bit of a load, not of an address",
}

# At the doors of RMI and RSI words are words, and a range is (base, top) as in the call.
DOORS = ("rmm/rmi/", "rmm/rsi/", "linux/rsi.py")
PENDING_CALLS = {"RipasChange", "MappingRequest"}  # what an RSI call has left in the REC


def name(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def shown(path: Path, found: list[Found]) -> list[str]:
    return [f"{name(path)}:{f.line} {f.where}: {f.what}" for f in found]


@pytest.mark.parametrize("path", FILES, ids=name)
def test_the_shared_bit_is_asked_of_ipa_space(path: Path) -> None:
    if name(path).startswith(ITS_ROOMS):
        return
    found = arithmetic(path.read_text(encoding="utf-8"))
    places = ITS_PLACES | EXCEPT.keys()
    assert shown(path, [f for f in found if (name(path), f.where) not in places]) == []


@pytest.mark.parametrize(("file", "where"), EXCEPT)
def test_no_exception_is_left_over(file: str, where: str) -> None:
    found = arithmetic((SOURCE / file).read_text(encoding="utf-8"))
    assert where in {f.where for f in found}


WRONG = [
    "self.table.map(gpa | self.space.shared_bit, pa, size)",
    "return ipa & ~space.shared_bit",
    "ipa ^= shared_bit",
    "if not address & platform.shared_bit: pass",
    "bit = self.space.shared_bit\nmap(start | bit, end | bit)",
    "bit = platform.shared_bit or 0\nwrong = (pl.col('address') & bit) == 0",
    "mask = np.uint64(space.shared_bit)\narray |= mask",
    "keep = ~space.shared_bit\nreturn keep & address",
    "return ipa + space.shared_bit",
    "phys = ipa & (shared_bit - 1)",
    "shared = 1 << (ipa_bits - 1)",
    "half = 1 << ipa_bits - 1",
    "half = 1 << self.realm.ipa_bits - 1",
    "half = 1 << (width - 1)",
    "half = 2 ** (ipa_bits - 1)",
    "half = 1 << ipa_bits >> 1",
    "half = 1 << space.bit_number",
    "print(f'bit {platform.ipa_bits - 1}, the shared bit')",
    "mask = 1 << platform.c_bit",
    "state = value >> platform.c_bit & 1",
    "number = platform.c_bit or 0\nclear = address & ~(1 << number)",
]
RIGHT = [
    "self.table.map(self.space.unprotected(gpa), pa, size)",
    "return space.protected(ipa)",
    "if not space.has_shared_bit(address): pass",
    "mask = (1 << width) - 1",
    "offset = ipa & (1 << shift) - 1",
    "page = ipa & -PAGE",
    "size = 1 << ipa_bits",
    "index_bits = ipa_bits - granule.level_shift(level)",
    "descriptor = pa | VALID",
    "number = platform.c_bit\nprint(number)\nword = 1 << shift",
    "def f(space):\n    bit = space.shared_bit\ndef g(bit):\n    return word & bit",
]


@pytest.mark.parametrize("source", WRONG)
def test_arithmetic_with_the_bit_is_found(source: str) -> None:
    body = "\n".join("    " + line for line in source.splitlines())
    (found, *_) = arithmetic(f"class Vmm:\n  def method():\n{body}")
    assert found.where == "Vmm.method"


@pytest.mark.parametrize("source", RIGHT)
def test_other_arithmetic_is_left_alone(source: str) -> None:
    assert arithmetic(source) == []


def test_it_would_be_found_in_the_vmm() -> None:
    """As one would write it by behaviour, in a function that has the space at hand."""
    path = SOURCE / "vmm/convert.py"
    asked = "self.space.unprotected(start)"
    source = path.read_text(encoding="utf-8")
    assert asked in source
    assert arithmetic(source) == []
    by_hand = arithmetic(source.replace(asked, "start | self.space.shared_bit"))
    assert {f.where for f in by_hand} == {"PageConverter.unshare", "PageConverter._share"}


def test_where_an_address_for_dma_gets_or_loses_the_bit() -> None:
    """The host in one place, the VMM's devices in one; the guest's is in addressing/."""
    turning = ("unprotected", "protected", "alias")
    found = {
        (name(path), where)
        for path in FILES
        if name(path).startswith(("vmm/vfio", "vmm/dma", "vmm/virtio", "smmu", "host", "devices"))
        or name(path).startswith("linux/")
        for where in calls(path.read_text(encoding="utf-8"), *turning)
    }
    assert found == {
        ("vmm/vfio.py", "VfioContainer.iovas"),
        ("vmm/dma.py", "EmulatedDma.__init__"),  # the mask that canonical() uses
        ("linux/pageattr.py", "LinearMap.ipa"),  # stage 1 of the CPU, no DMA
    }


@pytest.mark.parametrize(
    "path", [p for p in FILES if name(p).startswith((*TYPED_ROOMS, "memory.py"))], ids=name
)
def test_an_address_is_never_a_bare_int_on_a_public_signature(path: Path) -> None:
    if name(path).startswith(DOORS[:2]):
        return
    source = path.read_text(encoding="utf-8")
    found = [f for f in untyped(source) if f.where not in PENDING_CALLS]
    assert shown(path, found) == []
    if name(path) not in DOORS:
        assert shown(path, [f for f in ends(source) if f.where not in PENDING_CALLS]) == []


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("def f(pa: int) -> None: ...", 1),
        ("def f(*, ipa: int | None = None) -> None: ...", 1),
        ("class A:\n    def g(self, iova: int, size: int) -> None: ...", 1),
        ("class A:\n    root: int", 1),
        ("def f(pa: Pa, offset: int, word: int) -> None: ...", 0),
        ("def _f(pa: int) -> None: ...", 0),
        ("class _A:\n    root: int", 0),
    ],
)
def test_bare_ints_are_found(source: str, count: int) -> None:
    assert len(untyped(source)) == count


def test_ends_of_ranges_are_found() -> None:
    assert len(ends("def share(base: Ipa, top: Ipa) -> None: ...")) == 1
    assert ends("def share(ipa: Ipa, size: int) -> None: ...") == []
