"""Which data went between guest and devices, did it arrive, and how fast?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from topbit.recording import Recording

WAYS = {"r": "from the guest", "w": "to the guest"}


@dataclass(frozen=True, slots=True)
class Transfers:
    """How did the transfers of one step, one way end, seen from both ends?

    Attributes:
        device: its name.
        step: the guest's piece of work; empty where the machine has no such names.
        direction: "r": the device read memory, "w": it wrote memory.
        size: bytes, in all.
        right, wrong, missing: how many arrived, arrived wrong, did not come to an end.
        seconds: what they took by the guest's clock; None if nobody measured that.
    """

    device: str
    step: str
    direction: str
    size: int = 0
    right: int = 0
    wrong: int = 0
    missing: int = 0
    seconds: float | None = None

    @property
    def rate(self) -> float | None:
        """How many MiB a second, by the guest's clock?"""
        return self.size / (1 << 20) / self.seconds if self.seconds else None


def transfers(recording: Recording) -> tuple[Transfers, ...]:
    """Which transfers are in the recording? In the order of their first ones."""
    found: dict[tuple[str, str, str], Transfers] = {}
    for row in recording.of_kind("payload").iter_rows(named=True):
        if row["direction"] not in WAYS:
            continue
        facts = dict(part.partition("=")[::2] for part in (row["attrs"] or "").split("|"))
        key = row["device"] or "", facts.get("step", ""), row["direction"]
        so_far = found.get(key, Transfers(*key))
        seconds = facts.get("seconds")
        status = row["status"]
        found[key] = replace(
            so_far,
            size=so_far.size + (row["size"] or 0),
            right=so_far.right + (status == "ok"),
            wrong=so_far.wrong + (status == "wrong"),
            missing=so_far.missing + (status not in ("ok", "wrong")),
            seconds=so_far.seconds if seconds is None else (so_far.seconds or 0) + float(seconds),
        )
    return tuple(found.values())


def lines(found: Sequence[Transfers]) -> list[str]:
    """How are they told? One line for each device's step."""
    steps: dict[tuple[str, str], list[Transfers]] = {}
    for entry in found:
        steps.setdefault((entry.device, entry.step), []).append(entry)
    clock = " (rates by the guest's clock)"
    return [
        f"{device} {step}".rstrip()
        + ": "
        + "; ".join(map(_told, entries))
        + clock * any(entry.rate for entry in entries)
        for (device, step), entries in steps.items()
    ]


def _told(entry: Transfers) -> str:
    counts = {"right": entry.right, "WRONG": entry.wrong, "not ended": entry.missing}
    present = {word: count for word, count in counts.items() if count}
    if len(present) == 1:
        ends = "".join(present)
    else:
        ends = ", ".join(f"{count} {word}" for word, count in present.items())
    rate = f", {entry.rate:.1f} MiB/s" if entry.rate else ""
    return f"{_amount(entry.size)} {WAYS[entry.direction]}, {ends}{rate}"


def _amount(size: int) -> str:
    return f"{size / (1 << 20):g} MiB" if size >= 1 << 20 else f"{size / 1024:g} KiB"
