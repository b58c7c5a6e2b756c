"""Which endpoint has a protected stream to its root port? RMI_PDEV_STREAM_*.

Both ends take part, each in a conversation of its own; the host lets them take turns
(`CommExitFlags.STREAM_WAIT`) and says when it is over (RMI_PDEV_STREAM_COMPLETE).
Source: DEN0137 2.0 beta 0; observed on TF-RMM of July 2026. Only non-coherent streams of the
system's own are modelled (StreamType.NCOH).
"""

from __future__ import annotations

from topbit.arch.rmi import RmiStatus
from topbit.arch.rmi_da import PdevFlags, PdevState, StreamParams, StreamType
from topbit.rmm import conversation
from topbit.rmm.device import Conversation, Pdev, Stream
from topbit.rmm.granules import NS
from topbit.rmm.rmi.pdev import begin_talk
from topbit.rmm.state import RmmState

SUCCESS, ERROR_INPUT, ERROR_DEVICE, NOT_SUPPORTED = (
    int(RmiStatus.SUCCESS),
    int(RmiStatus.ERROR_INPUT),
    int(RmiStatus.ERROR_DEVICE),
    int(RmiStatus.NOT_SUPPORTED),
)
HANDLE = 1  # of the stream of an endpoint: its address and this, which no granule has


def pdev_stream_connect(rmm: RmmState, params_pa: int) -> tuple[int, ...]:
    """RMI_PDEV_STREAM_CONNECT(params) -> handle: an endpoint and its root port begin a stream."""
    if not rmm.granules.has(params_pa, NS):
        return (ERROR_INPUT, 0)
    kind, first, second, ide_sid, ranges = (
        rmm.memory.read_u64(params_pa + at)
        for at in (
            StreamParams.STREAM_TYPE,
            StreamParams.PDEV_1,
            StreamParams.PDEV_2,
            StreamParams.IDE_SID,
            StreamParams.NUM_ADDR_RANGE,
        )
    )
    endpoint, port = rmm.pdevs.get(first), rmm.pdevs.get(second)
    if endpoint is None or port is None or kind & 0xFF > max(StreamType) or ide_sid > 0xFF:
        return (ERROR_INPUT, 0)
    if ranges > StreamParams.MAX_ADDR_RANGE:
        return (ERROR_INPUT, 0)
    if kind & 0xFF != StreamType.NCOH:
        return (NOT_SUPPORTED, 0)
    if not _is_free(endpoint, PdevFlags.ENDPOINT_OFF_CHIP) or port.category != PdevFlags.ROOT_PORT:
        return (ERROR_DEVICE, 0)
    if port.state != PdevState.READY or port.talk is not None:
        return (ERROR_DEVICE, 0)
    stream = Stream(endpoint.pa | HANDLE, endpoint.pa, port.pa, ide_sid)
    endpoint.stream = rmm.streams[stream.handle] = stream
    said = conversation.set_keys(endpoint, ide_sid, rmm.nonce, query=True)
    _begin(rmm, stream, said, connected=True)
    return (SUCCESS, stream.handle)


def _is_free(pdev: Pdev, category: int) -> bool:
    """May the device begin a stream?"""
    ready = pdev.state == PdevState.READY and pdev.talk is None
    return ready and pdev.category == category and pdev.stream is None


def _begin(rmm: RmmState, stream: Stream, said: Conversation, *, connected: bool) -> None:
    endpoint, port = rmm.pdevs[stream.endpoint], rmm.pdevs[stream.port]
    stream.after, stream.waiting = connected, 0
    for pdev, conversation_ in ((endpoint, said), (port, conversation.wait_for_the_other_end())):
        begin_talk(rmm, pdev, conversation_, PdevState.READY)
        if pdev.talk is not None:
            pdev.talk.stream = stream


def _stream(rmm: RmmState, first: int, second: int, handle: int) -> Stream | int:
    """Which stream do the arguments name? Else the status that refuses them."""
    if first not in rmm.pdevs or second not in rmm.pdevs:
        return ERROR_INPUT
    found = rmm.streams.get(handle)
    if found is None or (found.endpoint, found.port) != (first, second):
        return ERROR_INPUT
    return found


def _is_quiet(rmm: RmmState, stream: Stream) -> bool:
    """Are both ends idle?"""
    ends = (rmm.pdevs[stream.endpoint], rmm.pdevs[stream.port])
    return all(pdev.talk is None for pdev in ends)


def pdev_stream_complete(rmm: RmmState, first: int, second: int, handle: int) -> tuple[int, ...]:
    """RMI_PDEV_STREAM_COMPLETE(pdev 1, pdev 2, handle): both ends have done their part."""
    stream = _stream(rmm, first, second, handle)
    if isinstance(stream, int):
        return (stream,)
    if stream.after is None or not _is_quiet(rmm, stream):
        return (ERROR_DEVICE,)
    stream.connected, stream.after = stream.after, None
    if not stream.connected:
        del rmm.streams[handle]
        rmm.pdevs[stream.endpoint].stream = None
    return (SUCCESS,)


def _change(
    rmm: RmmState, first: int, second: int, handle: int, *, connected: bool
) -> tuple[int, ...]:
    stream = _stream(rmm, first, second, handle)
    if isinstance(stream, int):
        return (stream,)
    endpoint, port = rmm.pdevs[stream.endpoint], rmm.pdevs[stream.port]
    if stream.after is not None or not _is_quiet(rmm, stream) or not stream.connected:
        return (ERROR_DEVICE,)
    if not connected and endpoint.vdevs:
        return (ERROR_DEVICE,)
    if endpoint.state != PdevState.READY or port.state != PdevState.READY:
        return (ERROR_DEVICE,)
    said = conversation.stop_keys(endpoint, stream.ide_sid)
    if connected:
        said = conversation.set_keys(endpoint, stream.ide_sid, rmm.nonce, query=False)
    _begin(rmm, stream, said, connected=connected)
    return (SUCCESS,)


def pdev_stream_disconnect(rmm: RmmState, first: int, second: int, handle: int) -> tuple[int, ...]:
    """RMI_PDEV_STREAM_DISCONNECT(pdev 1, pdev 2, handle): when no interface is assigned."""
    return _change(rmm, first, second, handle, connected=False)


def pdev_stream_key_refresh(rmm: RmmState, first: int, second: int, handle: int) -> tuple[int, ...]:
    """RMI_PDEV_STREAM_KEY_REFRESH(pdev 1, pdev 2, handle): the stream gets other keys."""
    return _change(rmm, first, second, handle, connected=True)


def pdev_stream_key_purge(rmm: RmmState, first: int, second: int, handle: int) -> tuple[int, ...]:
    """RMI_PDEV_STREAM_KEY_PURGE(pdev 1, pdev 2, handle): is not offered."""
    stream = _stream(rmm, first, second, handle)
    return (stream if isinstance(stream, int) else NOT_SUPPORTED,)


def is_connected(pdev: Pdev) -> bool:
    """Has the device a stream with keys at both ends, of which no end is being changed?"""
    return pdev.stream is not None and pdev.stream.connected and pdev.stream.after is None
