"""How does the host carry messages between the RMM and a device? The part that RMI_PDEV_COMMUNICATE
and RMI_VDEV_COMMUNICATE share.

The host calls again and again: the RMM leaves a request in the host's page and says so in the exit
fields of RmiDevCommData, the host brings the response, until the exit flags are zero.
Source: DEN0137 2.0 beta 0, RmiDevCommData.
"""

from __future__ import annotations

from topbit.arch.rmi import RmiStatus
from topbit.arch.rmi_da import CommExitFlags, CommStatus, DevCommData
from topbit.rmm.device import DeviceFault, Message, Talk
from topbit.rmm.granules import GRANULE, NS
from topbit.rmm.state import RmmState

SUCCESS, ERROR_INPUT, ERROR_DEVICE = (
    int(RmiStatus.SUCCESS),
    int(RmiStatus.ERROR_INPUT),
    int(RmiStatus.ERROR_DEVICE),
)
TIMEOUT = 1_000_000  # microseconds that the host waits for a response
_NO_RESPONSE = b""


def communicate(rmm: RmmState, talk: Talk | None, data_pa: int) -> tuple[int, ...]:
    """What does a COMMUNICATE call with the page at `data_pa` return?

    When the conversation has ended, or failed, its `done` or `failed` was called.
    """
    memory, granules = rmm.memory, rmm.granules
    if not granules.has(data_pa, NS):
        return (ERROR_INPUT,)
    entered, request_pa, response_pa, length = (
        memory.read_u64(data_pa + at)
        for at in (
            DevCommData.ENTER_STATUS,
            DevCommData.REQ_ADDR,
            DevCommData.RESP_ADDR,
            DevCommData.RESP_LEN,
        )
    )
    if not granules.has(request_pa, NS) or not granules.has(response_pa, NS) or length > GRANULE:
        return (ERROR_INPUT,)
    if talk is None:
        return (ERROR_DEVICE,)
    entered &= 0xFF
    if entered > CommStatus.ERROR or (talk.asked and entered == CommStatus.NONE):
        return (ERROR_INPUT,)
    answered = talk.asked and entered == CommStatus.RESPONSE
    response = memory.read(response_pa, length) if answered else _NO_RESPONSE
    memory.fill(data_pa + DevCommData.EXIT, GRANULE - DevCommData.EXIT)
    try:
        if talk.asked and not answered:
            raise DeviceFault("the host has no response")
        message = _next(talk, response)
    except StopIteration:
        talk.done()
        return (SUCCESS,)
    except DeviceFault as fault:
        talk.failed(str(fault))
        return (ERROR_DEVICE,)
    flags = CommExitFlags(STREAM_WAIT=1)
    if message is not None:
        flags = CommExitFlags(REQ_SEND=1, RSP_WAIT=1)
        memory.write(request_pa, message.data)
        memory.write_u64(data_pa + DevCommData.REQ_LEN, len(message.data))
        memory.write_u64(data_pa + DevCommData.TIMEOUT, TIMEOUT)
        memory.write_u64(data_pa + DevCommData.PROTOCOL, message.protocol)
        if message.keep is not None:
            flags.REQ_CACHE = flags.RSP_CACHE = 1
            memory.write_u64(data_pa + DevCommData.CACHE_OBJ_ID, message.keep)
            memory.write_u64(data_pa + DevCommData.CACHE_REQ_LEN, len(message.data))
    memory.write_u64(data_pa + DevCommData.EXIT_FLAGS, flags.words[0])
    return (SUCCESS,)


def _next(talk: Talk, response: bytes) -> Message | None:
    """What does the conversation say next? None: it waits for the stream's other end."""
    if talk.waits:
        if talk.stream is not None and talk.stream.waiting < 2:
            return None
        talk.waits = False
    message = talk.conversation.send(response) if talk.asked else next(talk.conversation)
    talk.asked = message is not None
    if message is None:
        talk.waits = True
        if talk.stream is not None:
            talk.stream.waiting += 1
    return message
