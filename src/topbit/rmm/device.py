"""What is a physical device, what is its assignment to a Realm, and what stands before both?

A physical device (PDEV) speaks SPDM with the RMM, through the host, until it is READY, and has a
protected stream (IDE) to its root port. A virtual device (VDEV) is the assignment of one of its
interfaces to one Realm. The PSMMU is the SMMU that they stand behind: the Realm side of it.
Source: DEN0137 2.0 beta 0, PDEV, VDEV and PSMMU attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from topbit.arch.ipa import Ipa, Pa
from topbit.arch.rmi_da import CommProtocol, PdevState, VdevState
from topbit.arch.rmi_params import RecEnter
from topbit.arch.smmuv3 import STE
from topbit.errors import PlatformFault
from topbit.rmm.realm import Realm, Rec, reached
from topbit.rmm.rec_run import Resume


class DeviceFault(PlatformFault):
    """Why is a device not to be trusted: what did it answer that it must not?"""


@dataclass(frozen=True, slots=True)
class Message:
    """Which request does the RMM want sent to a device?

    Attributes:
        data: the request.
        protocol: how it travels.
        keep: which object the host shall keep request and response of (RmiDevCommObject); None:
            of none.
    """

    data: bytes
    protocol: CommProtocol = CommProtocol.SPDM
    keep: int | None = None


WAIT = None
"""What does a conversation yield in place of a message that waits for the stream's other end?"""

Conversation: TypeAlias = Generator["Message | None", bytes, None]
"""Which messages does an operation need? It is sent each response, and ends when all is said.

Raises DeviceFault at a response that it cannot have."""


@dataclass(slots=True)
class Talk:
    """Which conversation is a device in, and what becomes of it afterwards?

    Attributes:
        conversation: its messages.
        done: is called when all is said.
        failed: is called when the device, or the host between, did not answer as it must: why.
        stream: the stream that the conversation is about; it waits for the other end of that.
        asked: a request is out, and not answered.
        waits: it waits for the other end.
    """

    conversation: Conversation
    done: Callable[[], None]
    failed: Callable[[str], None]
    stream: Stream | None = None
    asked: bool = False
    waits: bool = False


@dataclass(slots=True)
class Session:
    """What was agreed with a device? (SPDM)

    Attributes:
        transcript: how versions, capabilities and algorithms were agreed (VCA).
        certificate: the chain that the device showed.
        key: the public key in it, as the host says.
        identifier: of the session; 0: none is open.
        secret: what only its two ends know.
    """

    transcript: bytes = b""
    certificate: bytes = b""
    key: bytes = b""
    identifier: int = 0
    secret: bytes = b""


@dataclass(slots=True)
class Pdev:
    """Which physical device is it, and how far has the RMM come to trust it?

    Attributes:
        pa: PA of its granule, which names it.
        category: root port or endpoint (PdevFlags).
        rid_base, rid_top: the requester IDs of its interfaces, [base, top).
        slot: certificate slot.
        hash_algo: hash of the digests that a Realm is told.
        aux: granules that the host donated.
        state: PdevState.
        talk: the conversation it is in; None: it is idle.
        session: what was agreed with it.
        stream: the stream it has; None: none.
        vdevs: how many of its interfaces are assigned.
    """

    pa: Pa
    category: int
    rid_base: int
    rid_top: int
    slot: int
    hash_algo: int
    aux: tuple[Pa, ...] = ()
    state: PdevState = PdevState.NEW
    talk: Talk | None = None
    session: Session = field(default_factory=Session)
    stream: Stream | None = None
    vdevs: int = 0


@dataclass(slots=True)
class Stream:
    """Which IDE stream joins an endpoint to its root port?

    Attributes:
        handle: what names it to the host.
        endpoint, port: PAs of the two PDEVs.
        ide_sid: its number on the link.
        connected: keys are set at both ends.
        waiting: how many ends have done their part of the operation in progress.
        after: whether it is connected when RMI_PDEV_STREAM_COMPLETE ends the operation in
            progress; None: none is.
    """

    handle: int
    endpoint: Pa
    port: Pa
    ide_sid: int
    connected: bool = False
    waiting: int = 0
    after: bool | None = None


@dataclass(slots=True)
class Vdev:
    """Which device is assigned to which Realm, and may it make DMA?

    Attributes:
        pa: PA of its granule, which names it to the host.
        pdev: the physical device.
        realm: the Realm.
        vdev_id: what the Realm calls it.
        tdi_id: requester ID of the device interface: its StreamID.
        ranges: where its registers are: (base, top) of physical addresses.
        state: VdevState.
        talk: the conversation it is in; None: it is idle.
        lock_nonce: random, of the last lock, so that the Realm can tell whether it was unlocked in
            between; 0 before.
        meas_nonce, report_nonce: how often measurements and the interface report were fetched.
        start_nonce: what the device gave at the lock, and wants at the start.
        measurements, report: what the device told.
        dma: the Realm has enabled DMA: the stream is valid.
        unlocking: the host takes it back; what the Realm asks of it is refused.
    """

    pa: Pa
    pdev: Pdev
    realm: Realm
    vdev_id: int
    tdi_id: int
    ranges: Sequence[tuple[int, int]] = ()
    state: VdevState = VdevState.NEW
    talk: Talk | None = None
    lock_nonce: int = 0
    meas_nonce: int = 0
    report_nonce: int = 0
    start_nonce: bytes = b""
    measurements: bytes = b""
    report: bytes = b""
    dma: bool = False
    unlocking: bool = False

    @property
    def is_locked(self) -> bool:
        """Is its configuration the one that the Realm knows, or can know?"""
        return self.state in (VdevState.LOCKED, VdevState.STARTED) and not self.unlocking

    def has_nonces(self, lock: int, measurements: int, report: int) -> bool:
        """Does the Realm know the device as it is now?"""
        own = (self.lock_nonce, self.meas_nonce, self.report_nonce)
        return own == (lock, measurements, report)


@dataclass(slots=True)
class MappingRequest:
    """Which RSI_VDEV_VALIDATE_MAPPING waits for the host, and how far has it come?

    `lock_nonce`: of the lock under which the Realm asked.
    """

    vdev: Vdev
    lock_nonce: int
    base: Ipa
    top: int
    pa: Pa
    progress: Ipa

    def complete(self, rec: Rec, flags: int) -> Resume:
        """What does the call return?"""
        rec.pending = None
        refused = flags & RecEnter.DEV_MEM_RESPONSE and self.progress != self.top
        return reached(self.progress, bool(refused))


@dataclass(slots=True)
class Psmmu:
    """What does the RMM have of one SMMU?

    Attributes:
        base: PA of its registers, which names it.
        level1: granules of the level 1 stream table; () while it is not active.
        queues: granules of its command and event queue.
        level2: the granule of each level 2 table, by its first StreamID.
    """

    base: Pa
    level1: tuple[Pa, ...] = ()
    queues: tuple[Pa, ...] = ()
    level2: dict[int, Pa] = field(default_factory=dict)


class RealmSmmu(Protocol):
    """The SMMU as the RMM programs it: where its Realm stream table is, and what it forgets.

    The table itself is bytes in granules that the host donated.
    """

    def activate(self, strtab: Pa, log2size: int) -> None:
        """Use the two-level Realm stream table at `strtab`, of 2**log2size StreamIDs."""
        ...

    def deactivate(self) -> None:
        """Use no Realm stream table: accesses with T = 1 abort."""
        ...

    def changed(self, sid: int, ste: STE, realm: Realm | None) -> None:
        """The entry of `sid` was changed to `ste`: forget what is remembered of it.

        `realm`: whose table a valid entry gives the stream.
        """
        ...

    def invalidate(self, vmid: int, ipa: Ipa, size: int) -> None:
        """Forget what is remembered of [ipa, ipa + size) of the Realm with this VMID."""
        ...
