"""What does the RMM know: which Realms, virtual CPUs, devices and unfinished calls?

`RmmState` is what every handler gets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from topbit.arch.ipa import Ipa, IpaSpace, Pa
from topbit.arch.rmi import Ripas
from topbit.arch.rmi_revision import REVISIONS, Abi
from topbit.events import Emit, Event, ignore
from topbit.memory import PhysicalMemory, Words
from topbit.rmm.attestation import Attestor
from topbit.rmm.device import Pdev, Psmmu, RealmSmmu, Stream, Vdev
from topbit.rmm.granules import Granules
from topbit.rmm.operation import Operation
from topbit.rmm.realm import Realm, Rec
from topbit.rmm.rec_run import Exit, exit_event, write_exit
from topbit.rmm.s2tt import SHIFTS

PSMMU = Pa(0x2B40_0000)
"""Where are the registers of the SMMU of a platform that names none?"""
DMA = "dma"
"""`attrs` of an event about an interface that may make DMA."""


class RmmState:
    """What does the RMM of one platform know?

    Args:
        memory: physical memory; parameter pages, run pages and tables are bytes in it.
        granules: state and PAS of its granules; made here if not given.
        abi: RMI revision: "1.0" (single pages), "2.0-beta0" or "2.0-bet3" (ranges, devices); "2.0"
            is the former.
        emit: receives one event per change of state.
        lpa2: offer FEAT_LPA2 (49 to 52 bit Realms).
        pa_bits: width of the physical address space.
        rec_aux_count: auxiliary granules per REC.
        breakpoints, watchpoints: what feature register 0 offers: the CPU's number, less one.
        psmmus: the SMMUs whose Realm side it drives, by the PA of their registers; every device
            stands behind the first.
        smmu: what stands before trusted devices, to be told of changes; None: nothing does.
        told_ipa_bits: the width that RSI_REALM_CONFIG tells; None: the Realm's own.
    """

    def __init__(
        self,
        memory: PhysicalMemory,
        granules: Granules | None = None,
        *,
        abi: Abi = "1.0",
        emit: Emit = ignore,
        lpa2: bool = True,
        pa_bits: int = 48,
        rec_aux_count: int = 16,
        breakpoints: int = 15,
        watchpoints: int = 15,
        psmmus: Sequence[Pa] = (PSMMU,),
        smmu: RealmSmmu | None = None,
        told_ipa_bits: int | None = None,
    ) -> None:
        self.memory = memory
        self.granules = granules if granules is not None else Granules(memory)
        self.revision = REVISIONS[abi]
        self.emit = emit
        self.listening = emit is not ignore
        self.lpa2 = lpa2
        self.pa_bits = pa_bits
        self.rec_aux_count = rec_aux_count
        self.breakpoints = breakpoints
        self.watchpoints = watchpoints
        self.smmu = smmu
        self.told_ipa_bits = told_ipa_bits
        self.gicv3_vtr = 0
        self.active = not self.revision.ranges
        self.realms: dict[int, Realm] = {}
        self.recs: dict[int, Rec] = {}
        self.pdevs: dict[int, Pdev] = {}
        self.vdevs: dict[int, Vdev] = {}
        self.streams: dict[int, Stream] = {}
        self.psmmus: dict[int, Psmmu] = {base: Psmmu(base) for base in psmmus}
        self.operations: dict[int, Operation] = {}
        self._nonces = 0
        self._attestor: Attestor | None = None

    def running(self, rec_pa: Pa) -> Rec:
        """Which REC at `rec_pa` is running? ValueError if it is not."""
        found = self.recs.get(rec_pa)
        if found is None or not found.running:
            raise ValueError(f"no REC is running at 0x{rec_pa:016x}")
        return found

    def leave(self, rec_: Rec, exit_: Exit) -> Exit:
        """Return a REC to the host: the run page holds the exit, the REC no longer runs."""
        rec_.running = False
        write_exit(self.granules, rec_.run, exit_, self.revision.exit_reasons[exit_.reason])
        if self.listening:
            self.emit(exit_event(exit_))
        return exit_

    def invalidate(self, realm_: Realm, ipa: Ipa, size: int) -> None:
        """Valid entries of [ipa, ipa + size) were changed or removed: make the SMMU forget."""
        if self.smmu is not None:
            self.smmu.invalidate(realm_.vmid, ipa, size)

    def free_vmid(self) -> int:
        """Which VMID does no Realm have? -1 if all are taken."""
        taken = {realm_.vmid for realm_ in self.realms.values()}
        return next((vmid for vmid in range(1, 1 << 16) if vmid not in taken), -1)

    def nonce(self) -> int:
        """Which 64-bit number can nobody guess? Never 0, and the same in every run of a machine."""
        self._nonces += 1
        seed = hashlib.sha256(b"topbit nonce" + self._nonces.to_bytes(8, "little")).digest()
        return int.from_bytes(seed[:8], "little") or 1

    def attestor(self) -> Attestor:
        """Who signs the tokens of this RMM? Made, with its keys, when first asked for.

        Raises:
            ImportError: the `attest` extra is not installed.
        """
        if self._attestor is None:
            self._attestor = Attestor()
        return self._attestor

    # Events. Callers ask `listening` first: an ignored event costs nothing.

    def say_granule(self, what: str, pa: Pa, size: int) -> None:
        """Emit that granules were delegated or undelegated."""
        self.emit(Event("rmm", "granule", pa=pa, size=size, status=what))

    def say_ripas(self, realm_: Realm, ipa: Ipa, size: int, value: Ripas) -> None:
        """Emit that a range of protected IPAs has another RIPAS."""
        self.emit(Event("rmm", "ripas", phys=ipa, size=size, status="ok", attrs=value.name))

    def say_rtt(self, event: str, realm_: Realm, ipa: Ipa, pa: Pa | None, size: int) -> None:
        """Emit that a range of IPAs was mapped or unmapped."""
        half, phys = realm_.space.half(ipa), realm_.space.protected(ipa)
        self.emit(Event("rmm", event, address=ipa, phys=phys, pa=pa, size=size, attrs=half))

    def say_realm_config(self, ipa: Ipa, ipa_bits: int) -> None:
        """Emit which width the Realm was told, by its shared bit."""
        bit = IpaSpace(ipa_bits).shared_bit
        self.emit(Event("rmm", "realm_config", address=bit, phys=ipa, detail=f"{ipa_bits} bits"))

    def say_pdev(self, pdev: Pdev, why: str) -> None:
        """Emit in which state a physical device is now, and by what."""
        self.emit(Event("rmm", "pdev", sid=pdev.rid_base, status=pdev.state.name, detail=why))

    def say_vdev(self, vdev: Vdev, why: str) -> None:
        """Emit in which state an assigned interface is now, whether it may make DMA, by what."""
        dma = DMA if vdev.dma else None
        state = vdev.state.name
        self.emit(Event("rmm", "vdev", sid=vdev.tdi_id, status=state, attrs=dma, detail=why))

    def say_table_gone(self, realm_: Realm, ipa: Ipa, words: Words, level: int) -> None:
        """Emit what the destruction of a table did to the range that it covered."""
        size = len(words) << SHIFTS[level]
        if realm_.space.in_par(ipa):
            self.say_ripas(realm_, ipa, size, Ripas.DESTROYED)
        elif (words & np.uint64(1)).any():
            self.say_rtt("rtt_unmap", realm_, ipa, None, size)
