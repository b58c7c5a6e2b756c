"""Which physical devices does the host name to the RMM, and which does the RMM know to be genuine?

An endpoint is identified over SPDM, the host names its public key, a session is opened: READY. Its
stream to the root port is in `stream.py`. A root port has nothing to say.
Source: DEN0137 2.0 beta 0, RMI_PDEV_*; observed on TF-RMM of July 2026.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from topbit.arch.ipa import Pa
from topbit.arch.rmi import RmiStatus
from topbit.arch.rmi_da import (
    KeyAlgorithm,
    PdevFlags,
    PdevParams,
    PdevState,
    PublicKeyParams,
    VdevState,
)
from topbit.rmm import conversation
from topbit.rmm.device import Conversation, Pdev, Talk, Vdev
from topbit.rmm.granules import DELEGATED, GRANULE, NS, State
from topbit.rmm.measurement import HASHES
from topbit.rmm.operation import Operation, Wanted
from topbit.rmm.realm_smmu import stop
from topbit.rmm.rmi.communicate import communicate
from topbit.rmm.rmi.op import BLOCKED, begin, is_blocked
from topbit.rmm.state import RmmState

SUCCESS, ERROR_INPUT, ERROR_DEVICE, NOT_SUPPORTED = (
    int(RmiStatus.SUCCESS),
    int(RmiStatus.ERROR_INPUT),
    int(RmiStatus.ERROR_DEVICE),
    int(RmiStatus.NOT_SUPPORTED),
)
AUX_GRANULES = 3
U32 = 0xFFFF_FFFF


def fail(rmm: RmmState, pdev: Pdev, why: str) -> None:
    """The device is not to be trusted any more: nor its streams, nor an interface behind them."""
    lost = [pdev]
    for stream in [s for s in rmm.streams.values() if pdev.pa in (s.endpoint, s.port)]:
        endpoint = rmm.pdevs[stream.endpoint]
        lost.append(endpoint)
        for end in (endpoint, rmm.pdevs[stream.port]):
            if end.talk is not None and end.talk.stream is stream:
                end.talk = None
        endpoint.stream = None
        del rmm.streams[stream.handle]
    pdev.state, pdev.talk = PdevState.ERROR, None
    if rmm.listening:
        rmm.say_pdev(pdev, why)
    for vdev in rmm.vdevs.values():
        if any(vdev.pdev is one for one in lost):
            fail_interface(rmm, vdev, why)


def fail_interface(rmm: RmmState, vdev: Vdev, why: str) -> None:
    """The interface is not to be trusted any more: its stream is invalid from now on."""
    vdev.state, vdev.talk, vdev.unlocking = VdevState.ERROR, None, False
    stop(rmm, vdev, why)
    if rmm.listening:
        rmm.say_vdev(vdev, why)


def begin_talk(
    rmm: RmmState,
    pdev: Pdev,
    said: Conversation,
    state: PdevState,
    then: Callable[[], None] = lambda: None,
) -> None:
    """Let the device be in a conversation; when all is said it is in `state`; `then` is called."""

    def done() -> None:
        pdev.state, pdev.talk = state, None
        then()
        if rmm.listening:
            rmm.say_pdev(pdev, "all was said")

    pdev.talk = Talk(said, done, lambda why: fail(rmm, pdev, why))


def pdev_create(rmm: RmmState, pdev: int, params_pa: int) -> tuple[int, ...]:
    """RMI_PDEV_CREATE(pdev, params) -> handle, request: the host names a physical device."""
    if is_blocked(rmm):
        return (BLOCKED, 0, 0)
    granules = rmm.granules
    if not granules.has(pdev, DELEGATED) or not granules.has(params_pa, NS):
        return (ERROR_INPUT, 0, 0)
    page = rmm.memory.read(params_pa, GRANULE)
    flags, slot, rid_base, rid_top = (
        int.from_bytes(page[at : at + 8], "little")
        for at in (
            PdevParams.FLAGS,
            PdevParams.ID_INDEX,
            PdevParams.RID_BASE,
            PdevParams.RID_TOP,
        )
    )
    category, hash_algo = PdevFlags.CATEGORY.get(flags), page[PdevParams.HASH_ALGO]
    rid_base, rid_top = rid_base & U32, rid_top & U32
    if category > PdevFlags.ENDPOINT_ON_CHIP or hash_algo not in HASHES or slot > 7:
        return (ERROR_INPUT, 0, 0)
    if not rid_base < rid_top <= 1 << 16:
        return (ERROR_INPUT, 0, 0)
    if category == PdevFlags.ENDPOINT_ON_CHIP or not PdevFlags.SPDM.get(flags):
        return (NOT_SUPPORTED, 0, 0)
    made = Pdev(pdev, category, rid_base, rid_top, slot, hash_algo)
    if category == PdevFlags.ROOT_PORT:
        _add(rmm, made, conversation.nothing(), PdevState.READY)
        return (SUCCESS, 0, 0)
    granules.set(pdev, State.PARTIAL)

    def finish(aux: Sequence[Pa]) -> int:
        made.aux = tuple(aux)
        _add(rmm, made, conversation.identify(made), PdevState.NEEDS_KEY)
        return SUCCESS

    return begin(
        rmm,
        Operation(
            State.PDEV_AUX,
            [Wanted(AUX_GRANULES)],
            finish,
            cleanup=lambda: granules.set(pdev, DELEGATED),
            owner=pdev,
        ),
    )


def _add(rmm: RmmState, made: Pdev, said: Conversation, state: PdevState) -> None:
    rmm.granules.set(made.pa, State.PDEV)
    rmm.pdevs[made.pa] = made
    begin_talk(rmm, made, said, state)


def pdev_get_state(rmm: RmmState, pdev: int) -> tuple[int, ...]:
    """RMI_PDEV_GET_STATE(pdev) -> PdevState."""
    found = rmm.pdevs.get(pdev)
    return (ERROR_INPUT, 0) if found is None else (SUCCESS, int(found.state))


def pdev_communicate(rmm: RmmState, pdev: int, data_pa: int) -> tuple[int, ...]:
    """RMI_PDEV_COMMUNICATE(pdev, data): carry the next message to or from the device."""
    found = rmm.pdevs.get(pdev)
    return (ERROR_INPUT,) if found is None else communicate(rmm, found.talk, data_pa)


def pdev_set_pubkey(rmm: RmmState, pdev: int, params_pa: int) -> tuple[int, ...]:
    """RMI_PDEV_SET_PUBKEY(pdev, params): the key that the host found in the certificate chain."""
    found = rmm.pdevs.get(pdev)
    if found is None or not rmm.granules.has(params_pa, NS):
        return (ERROR_INPUT,)
    page = rmm.memory.read(params_pa, GRANULE)
    key_len, metadata_len = (
        int.from_bytes(page[at : at + 8], "little")
        for at in (PublicKeyParams.KEY_LEN, PublicKeyParams.METADATA_LEN)
    )
    most = PublicKeyParams.MAX_LEN
    if not 0 < key_len <= most or metadata_len > most:
        return (ERROR_INPUT,)
    if page[PublicKeyParams.ALGO] > max(KeyAlgorithm):
        return (ERROR_INPUT,)
    if found.state != PdevState.NEEDS_KEY or found.talk is not None:
        return (ERROR_DEVICE,)
    found.session.key = page[PublicKeyParams.KEY : PublicKeyParams.KEY + key_len]
    found.state = PdevState.HAS_KEY
    said = conversation.establish(found, rmm.nonce)
    begin_talk(rmm, found, said, PdevState.READY)
    return (SUCCESS,)


def pdev_abort(rmm: RmmState, pdev: int) -> tuple[int, ...]:
    """RMI_PDEV_ABORT(pdev): give the conversation up; what the device thinks is then unknown."""
    found = rmm.pdevs.get(pdev)
    if found is None:
        return (ERROR_INPUT,)
    if found.talk is None:
        return (ERROR_DEVICE,)
    fail(rmm, found, "RMI_PDEV_ABORT")
    return (SUCCESS,)


def pdev_stop(rmm: RmmState, pdev: int) -> tuple[int, ...]:
    """RMI_PDEV_STOP(pdev): end its session, when no interface and no stream of it is in use."""
    found = rmm.pdevs.get(pdev)
    if found is None:
        return (ERROR_INPUT,)
    joined = any(pdev in (stream.endpoint, stream.port) for stream in rmm.streams.values())
    if found.talk is not None or found.vdevs or joined:
        return (ERROR_DEVICE,)
    if found.state == PdevState.STOPPED:
        return (ERROR_DEVICE,)
    said = conversation.end_session(found)
    if found.state == PdevState.ERROR:  # it is not asked any more
        said = conversation.nothing()
    begin_talk(rmm, found, said, PdevState.STOPPED)
    return (SUCCESS,)


def pdev_destroy(rmm: RmmState, pdev: int) -> tuple[int, ...]:
    """RMI_PDEV_DESTROY(pdev) -> handle: a device that has been stopped is forgotten."""
    if is_blocked(rmm):
        return (BLOCKED, 0, 0)
    found = rmm.pdevs.get(pdev)
    if found is None:
        return (ERROR_INPUT, 0, 0)
    if found.state != PdevState.STOPPED or found.talk is not None:
        return (ERROR_DEVICE, 0, 0)
    del rmm.pdevs[pdev]
    if not found.aux:
        rmm.granules.set(found.pa, DELEGATED)
        return (SUCCESS, 0, 0)
    rmm.granules.set(found.pa, State.PARTIAL)
    return begin(
        rmm,
        Operation(
            State.PDEV_AUX,
            taken=list(found.aux),
            result=SUCCESS,
            reclaiming=True,
            cleanup=lambda: rmm.granules.set(found.pa, DELEGATED),
            owner=found.pa,
        ),
    )
