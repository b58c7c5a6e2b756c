"""How are addresses, bits and rows written in findings? The same way everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import polars as pl

from topbit.recording import Platform, Recording
from topbit.replay.columns import MAPS, with_shared_bit
from topbit.replay.kept import kept
from topbit.rules.finding import Evidence

FEW = 4
"""How many rows a group shows as evidence."""


def address(value: int) -> str:
    """How is an address printed? 0x and 16 digits."""
    return f"0x{value:016x}"


def bits_of(mask: int) -> str:
    """Which bits does a mask set: "bit 40", "bits 9 and 51"?"""
    numbers = [str(n) for n in range(mask.bit_length()) if mask >> n & 1]
    if len(numbers) == 1:
        return f"bit {numbers[0]}"
    return f"bits {', '.join(numbers[:-1])} and {numbers[-1]}"


def shared_bit_name(platform: Platform) -> str:
    """How is the shared bit named: "bit 40, the shared bit"?"""
    if platform.space is None:
        return "the shared bit"
    return f"bit {platform.space.bit_number}, the shared bit"


def device_name(recording: Recording, device: str | None, sid: int | None) -> str | None:
    """How is a device named: by the kernel's name, else by its StreamID?"""
    if device:
        return device
    if sid is None:
        return None
    return recording.platform.device_of_sid(sid) or f"StreamID 0x{sid:x}"


_SHOWN_AS = {
    "address": "dma_addr",
    "phys": "phys_addr",
}


def describe(row: dict[str, Any]) -> str:
    """What does one event say, in one line?"""
    words = [row["event"]]
    if row["event"] in ("trouble", "log"):
        return str(row["detail"])
    if row["event"] == "step":
        words.append(str(row["detail"]))
    if row["event"] == "helper":
        words[0] = f"{row['attrs']}()"
    if row["device"]:
        words.append(row["device"])
    if row["sid"] is not None:
        words.append(f"StreamID 0x{row['sid']:x}")
    if row["direction"]:
        words.append({"r": "read", "w": "write"}.get(row["direction"], row["direction"]))
    guest = row["event"].startswith(("dma_", "swiotlb"))
    for column in ("address", "phys", "pa"):
        if row[column] is not None:
            name = _SHOWN_AS.get(column, column) if guest else column
            words.append(f"{name}={address(row[column])}")
    if row["size"] is not None:
        words.append(f"size={row['size']}")
    if row["mask"] is not None:
        words.append(f"dma_mask=0x{row['mask']:x}")
    if row["status"]:
        words.append(row["status"])
    if row["attrs"] and row["event"] != "helper":
        words.append(row["attrs"])
    return " ".join(words)


def refused_access(recording: Recording, row: dict[str, Any]) -> str:
    """What does a finding say of a refused access: who, where, and how it was refused?"""
    platform = recording.platform
    verb = {"r": "read", "w": "wrote"}.get(row["direction"] or "", "used")
    stream = "" if row["sid"] is None else f" (StreamID 0x{row['sid']:x})"
    device = device_name(recording, row["device"], row["sid"]) or "a device"
    stream = "" if device.startswith("StreamID") else stream
    if row["address"] is None:  # a configuration fault has none
        return f"{device}{stream}: {row['status']}"
    stage = ", stage 2" if "s2" in (row["attrs"] or "") else ""
    bit = bit_of_scheme(platform, row["address"])
    return f"{device}{stream} {verb} {address(row['address'])}{bit}: {row['status']}{stage}"


def bit_of_scheme(platform: Platform, value: int) -> str:
    """What does the bit that the scheme has in addresses say in this one? Nothing without a bit."""
    if platform.scheme == "arm-cca" and platform.space is not None:
        state = "set" if platform.has_shared_bit(value) else "clear"
        return f" ({shared_bit_name(platform)}, {state})"
    if platform.c_bit is not None:
        state = "set" if platform.has_c_bit(value) else "clear"
        return f" (bit {platform.c_bit}, the C bit, {state})"
    return ""


def evidence_of(row: dict[str, Any]) -> Evidence:
    """Which evidence is one event?"""
    return Evidence(describe(row), row["source"] or "", row["line"], row["agent"])


def evidence(rows: pl.DataFrame | Iterable[dict[str, Any]], few: int = FEW) -> list[Evidence]:
    """Which evidence do the first few of these events give?"""
    if isinstance(rows, pl.DataFrame):
        rows = rows.head(few).iter_rows(named=True)
    return [evidence_of(row) for _, row in zip(range(few), rows, strict=False)]


def places(rows: pl.DataFrame) -> set[tuple[str, int]]:
    """At which (file, line) do these events stand?"""
    told = rows.filter(pl.col("line").is_not_null() & (pl.col("source").fill_null("") != ""))
    return set(told.select("source", "line").rows())


def by_device(rows: pl.DataFrame) -> Iterator[tuple[str | None, pl.DataFrame]]:
    """Which rows has each device, in the order in which the devices appear?"""
    if rows.is_empty():
        return
    for (device,), group in rows.group_by("device", maintain_order=True):
        yield (None if device is None else str(device)), group


@kept
def gives_no_alias(recording: Recording) -> bool:
    """Was every DMA address of every device a plain one?"""
    if recording.platform.space is None:
        return False
    with_bit = recording.scan(*MAPS).filter(with_shared_bit(recording.platform)).head(1).collect()
    return recording.has(*MAPS) and with_bit.is_empty()


def release_hint(platform: Platform, *, no_alias: bool = False) -> str:
    """What mends a guest that gives plain addresses to devices?

    `no_alias`: as `gives_no_alias`; what the kernel does counts more than its release.
    """
    # Imported here: only findings need it.
    from topbit.addressing.kernel_policy import ALIAS_RELEASES
    from topbit.rules.releases import policy_of

    update = f"use Linux {ALIAS_RELEASES} or later in the guest (commit 7d953a062416)"
    policy = policy_of(platform)
    if policy is None:
        return update
    if policy.alias_for_shared and no_alias:
        return (
            f"this build does not keep the convention of its release, Linux {platform.kernel}: "
            "look at dma_addr_unencrypted() and is_realm_world() in its source"
        )
    if policy.alias_for_shared:
        return (
            f"Linux {platform.kernel} sets the bit itself: look for a driver that does not use "
            "the DMA API, or for firmware (EDK2) that set the device up"
        )
    return f"{update}; this one is {platform.kernel}"
