"""A guest's trace with its console's lines between, as long as is wanted; from a seed.

What a Realm's devices do: buffers bounced, mapped, synced and unmapped, scatterlists, coherent
memory, and now and then a line of the kernel log. All of it keeps the convention but for `faults`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

SHARED = 1 << 40
POOL, SLOTS, SLOT = 0x76B0_0000, 1 << 15, 2048
RAM, PAGES, PAGE = 0x4000_0000, 1 << 17, 4096
DEVICES = ("0000:00:01.0", "0000:00:02.0", "0000:00:03.0", "a800000.virtio_mmio")
TASKS = (
    "kworker/0:1H-122",
    "kworker/u8:3-77",
    "<idle>-0",
    "fio-2044",
    "nvme_poll-391",
    "systemd-journal-212",
    "ksoftirqd/1-21",
)
WAYS = ("TO_DEVICE", "FROM_DEVICE", "BIDIRECTIONAL")
HEAD = """\
[    0.000000] Booting Linux on physical CPU 0x0000000000 [0x000f0510]
[    0.000000] Linux version 6.18.15 (gcc 14.2) #1 SMP
[    0.000000] RME: Using RSI version 1.0
[    0.000000]   node   0: [mem 0x0000000040000000-0x000000007fffffff]
[    0.000000] software IO TLB: mapped [mem 0x0000000076b00000-0x000000007ab00000] (64MB)
[    0.000000] percpu: Embedded 33 pages/cpu s97624 r8192 d29352 u135168
[    0.400000] pci 0000:00:01.0: [1b36:0010] type 00 class 0x010802
[    0.400001] pci 0000:00:02.0: [1b36:0010] type 00 class 0x010802
""".splitlines()
SAYS = (
    "EXT4-fs (nvme0n1p1): mounted filesystem 7f0c with ordered data mode. Quota mode: none.",
    "systemd[1]: Started User Login Management of this machine.",
    "audit: type=1400 audit(1731.1:12): apparmor=STATUS operation=profile_load",
    "hrtimer: interrupt took 24301 ns",
    "nvme nvme0: 2/0/0 default/read/poll queues",
    "random: crng init done",
)
FAULT = (
    "arm-smmu-v3 9050000.smmuv3: event: F_TRANSLATION client: 0000:00:01.0 sid: 0x8 ssid: 0x0 "
    "iova: 0x10076b01000 ipa: 0x10076b01000",
    'arm-smmu-v3 9050000.smmuv3: unpriv data write s2 "Input address caused fault" stag: 0x0',
)


class Guest:
    """A guest at work.

    Args:
        seed: of the random numbers.
        others: one line in so many is none of the trace's.
    """

    def __init__(self, seed: int = 1, others: int = 20) -> None:
        self._rng = random.Random(seed)
        self._others = others
        self._now = 4_100_000  # microseconds

    def lines(self, count: int, faults: int = 0) -> Iterator[str]:
        """So many lines of the file, or a few more, and so many faults at its end."""
        yield from HEAD
        made = len(HEAD)
        while made < count:
            for line in self._work():
                made += 1
                yield line
                if self._rng.randrange(self._others) == 0:
                    made += 1
                    yield self._log(self._rng.choice(SAYS))
        for _ in range(faults):
            for line in FAULT:
                yield self._log(line)

    def _work(self) -> list[str]:
        kind = self._rng.random()
        device = self._rng.choice(DEVICES)
        if kind < 0.03:
            return self._scatterlist(device)
        if kind < 0.05:
            return self._coherent(device)
        return self._streaming(device)

    def _streaming(self, device: str) -> list[str]:
        rng = self._rng
        size = rng.choice((64, 512, 1514, 4096, 65536))
        way = rng.choice(WAYS)
        phys = RAM + rng.randrange(PAGES) * PAGE + rng.choice((0, 0, 0x200))
        given = SHARED | POOL + rng.randrange(SLOTS) * SLOT
        common = f"{device} dir={way} dma_addr={given:x} size={size}"
        skip = rng.choice(("", "", "SKIP_CPU_SYNC"))
        whom = "device" if way == "TO_DEVICE" else "cpu"
        return [
            self._event(
                "swiotlb_bounced",
                f"dev_name: {device} dma_mask=ffffffffffffffff dev_addr={phys:x} size={size} FORCE",
            ),
            self._event("dma_map_phys", f"{common} phys_addr={phys:x} attrs={skip}"),
            self._event(f"dma_sync_single_for_{whom}", common),
            self._event("dma_unmap_phys", f"{common} attrs={skip}"),
        ]

    def _scatterlist(self, device: str) -> list[str]:
        rng = self._rng
        count = rng.randrange(1, 9)
        buffers = [RAM + page * PAGE for page in rng.sample(range(PAGES), count)]
        given = [SHARED | POOL + slot * SLOT for slot in rng.sample(range(SLOTS), count)]
        lists = [
            "{" + ",".join(f"0x{value:x}" for value in values) + "}"
            for values in (given, [PAGE] * count, buffers)
        ]
        bounced = [
            self._event(
                "swiotlb_bounced",
                f"dev_name: {device} dma_mask=ffffffffffffffff dev_addr={phys:x} size=4096 FORCE",
            )
            for phys in buffers
        ]
        return [
            *bounced,
            self._event(
                "dma_map_sg",
                f"{device} dir=TO_DEVICE nents={count}/{count} ents={count}/{count} "
                f"dma_addrs={lists[0]} sizes={lists[1]} phys_addrs={lists[2]} attrs=",
            ),
            self._event("dma_unmap_sg", f"{device} dir=TO_DEVICE phys_addrs={lists[2]} attrs="),
        ]

    def _coherent(self, device: str) -> list[str]:
        given = SHARED | RAM + self._rng.randrange(PAGES) * PAGE
        common = f"{device} dir=BIDIRECTIONAL dma_addr={given:x} size=4096"
        virtual = f"virt_addr=00000000{self._rng.getrandbits(32):08x}"
        return [
            self._event("dma_alloc", f"{common} {virtual} flags=GFP_KERNEL|__GFP_ZERO attrs="),
            self._event("dma_free", f"{common} {virtual} attrs="),
        ]

    def _event(self, name: str, body: str) -> str:
        rng = self._rng
        self._now += rng.randrange(1, 12)
        whole, part = divmod(self._now, 1_000_000)
        task, _, pid = rng.choice(TASKS).rpartition("-")
        cpu, flags = rng.randrange(4), rng.choice(("d..1.", ".....", "d.h1.", "..s2."))
        return f"{task:>16}-{pid:<7} [{cpu:03}] {flags} {whole:5}.{part:06}: {name}: {body}"

    def _log(self, text: str) -> str:
        whole, part = divmod(self._now, 1_000_000)
        return f"[{whole:5}.{part:06}] {text}"
