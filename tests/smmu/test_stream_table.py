"""Which STE does a StreamID find, in linear and two-level tables? (IHI0070 3.3.1, 5.1)"""

import pytest

from topbit.arch.smmuv3 import L1STD, STE
from topbit.arch.smmuv3_regs import StrtabBase, StrtabBaseCfg
from topbit.memory import PhysicalMemory
from topbit.smmu.bus import FetchAbort
from topbit.smmu.stream_table import BadStreamId, find_ste

BASE = 0x4000_0000


@pytest.fixture
def memory() -> PhysicalMemory:
    return PhysicalMemory(BASE, 1 << 20)


def find(memory: PhysicalMemory, sid: int, base: int = BASE, sid_bits: int = 16, **cfg: int) -> int:
    """The VMID of the STE that is found."""

    def fetch(pa: int) -> int:
        if not memory.contains(pa, 8):
            raise FetchAbort(pa, gpf=False)
        return memory.read_u64(pa)

    found = find_ste(sid, StrtabBase(ADDR=base), StrtabBaseCfg(**cfg), sid_bits, fetch)
    return found.S2VMID


def put(memory: PhysicalMemory, pa: int, vmid: int) -> None:
    memory.write(pa, STE(V=1, S2VMID=vmid).pack())


def test_linear(memory: PhysicalMemory) -> None:
    put(memory, BASE + 64 * 5, 55)
    assert find(memory, 5, LOG2SIZE=4) == 55
    assert find(memory, 5, LOG2SIZE=4, FMT=2) == 55  # reserved: linear
    assert find(memory, 5, BASE + 64, LOG2SIZE=4) == 55  # aligned to the table's size
    with pytest.raises(BadStreamId):
        find(memory, 16, LOG2SIZE=4)


def test_size_is_limited_by_the_implemented_streamids(memory: PhysicalMemory) -> None:
    put(memory, BASE + 64 * 15, 15)
    assert find(memory, 15, sid_bits=4, LOG2SIZE=32) == 15
    with pytest.raises(BadStreamId):
        find(memory, 16, sid_bits=4, LOG2SIZE=32)


def test_fetch_outside_memory(memory: PhysicalMemory) -> None:
    with pytest.raises(FetchAbort) as error:
        find(memory, 2, 0x1000_0000, LOG2SIZE=4)
    assert error.value.pa == 0x1000_0080


@pytest.mark.parametrize(("split", "used"), [(6, 6), (8, 8), (10, 10), (7, 6), (0, 6)])
def test_two_level(memory: PhysicalMemory, split: int, used: int) -> None:
    l2 = BASE + 0x2_0000
    sid = (3 << used) + 9
    memory.write_u64(BASE + 3 * 8, L1STD(Span=5, L2Ptr=l2).words[0])  # 16 entries
    put(memory, l2 + 64 * 9, 99)
    cfg = {"LOG2SIZE": 16, "SPLIT": split, "FMT": 1}
    assert find(memory, sid, **cfg) == 99
    with pytest.raises(BadStreamId):
        find(memory, sid + 7, **cfg)  # index 16: beyond Span
    with pytest.raises(BadStreamId):
        find(memory, 9, **cfg)  # descriptor 0 is invalid


@pytest.mark.parametrize("span", [0, 8, 12, 31])
def test_spans_that_are_invalid_with_split_6(memory: PhysicalMemory, span: int) -> None:
    memory.write_u64(BASE, L1STD(Span=span, L2Ptr=BASE + 0x2_0000).words[0])
    with pytest.raises(BadStreamId):
        find(memory, 1, LOG2SIZE=16, SPLIT=6, FMT=1)


def test_level_2_array_is_aligned_to_its_size(memory: PhysicalMemory) -> None:
    memory.write_u64(BASE, L1STD(Span=7, L2Ptr=BASE + 0x2_0FC0).words[0])
    put(memory, BASE + 0x2_0000 + 64 * 63, 63)
    assert find(memory, 63, LOG2SIZE=16, SPLIT=6, FMT=1) == 63
