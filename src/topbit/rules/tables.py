"""F: do the tables allow what they must, and are they well-formed?"""

from __future__ import annotations

from collections.abc import Iterator

from topbit.events import Agent
from topbit.recording import Recording
from topbit.replay.columns import is_beyond_ipa_space
from topbit.replay.faults import CONFIGURATION, PERMISSION, fault_rows
from topbit.replay.refusals import against, was_translated
from topbit.rules.finding import Finding
from topbit.rules.refused import is_traced, refusal
from topbit.rules.rule import a_realm, rule, sees_faults, the_shared_bit
from topbit.rules.streams import guest_faults
from topbit.rules.trusted import is_interfaces


@rule(
    "F5",
    "A device reads and writes only as its mapping allows, and stage 2 allows no less.",
    source="IHI0070 F_PERMISSION; Linux 7.2 Documentation/core-api/dma-api-howto.rst, directions",
    needs=[a_realm, the_shared_bit, sees_faults],
)
def permission_faults(recording: Recording) -> Iterator[Finding]:
    """Was the direction of a refused access the device's mistake or the table's?"""
    for fault in guest_faults(recording):
        row, mapping = fault.row, fault.live
        if row["status"] != PERMISSION:
            continue
        if was_translated(recording, fault):  # F11
            continue
        direction = None if mapping is None else mapping["direction"]
        agent: Agent
        if mapping is None and is_traced(recording, fault):
            message, agent = "the device used an address that it was never given", "device"
            expected, hint = "an address that the guest mapped", "look at the device"
        elif against(row, mapping):
            verb = "wrote to" if row["direction"] == "w" else "read"
            message = f"the device {verb} a buffer that is mapped {direction}"
            agent, expected = "device", f"accesses as {direction} allows"
            hint = "look at the device's descriptors; map BIDIRECTIONAL if both are meant"
        else:
            message = "the VMM's stage-2 mapping does not allow what the guest's mapping allows"
            agent = "vmm"
            expected = "read and write permission for shared pages"
            hint = "map shared pages readable and writable"
        yield refusal(
            recording,
            row,
            "F5",
            agent,
            message,
            expected=expected,
            hint=hint,
            mapping=mapping,
        )


@rule(
    "F9",
    "The host's stream tables and stage-2 tables are well-formed.",
    source="IHI0070, events C_BAD_STREAMID, C_BAD_STE, F_STE_FETCH, F_WALK_EABT, F_ADDR_SIZE ...",
    needs=[sees_faults],
)
def host_tables_are_broken(recording: Recording) -> Iterator[Finding]:
    """Which devices were stopped by the host's own tables, whatever address they used?"""
    for row in fault_rows(recording).iter_rows(named=True):
        if row["status"] not in CONFIGURATION:
            continue
        if is_beyond_ipa_space(recording.platform, row["address"] or 0):  # F4
            continue
        if is_interfaces(recording, row):  # T1
            continue
        yield refusal(
            recording,
            row,
            "F9",
            "host",
            f"the host's SMMU configuration stopped the device: {row['status']}",
            expected="a valid stream table entry and valid tables for the stream",
            hint="look at how the host attaches the device (an output or input address size too "
            "small for the alias gives F_ADDR_SIZE)",
        )
