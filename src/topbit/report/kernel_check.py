"""How is it shown whether a kernel tree, or a patch to one, keeps the convention?"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest

from topbit.addressing.explain import fmt
from topbit.kernel_tree.judge import CONVENTIONS, Fault, Judgement

FORMS = ("text", "json", "b4")
LABEL = 11


@dataclass(frozen=True, slots=True)
class KernelCheck:
    """What came out of a check?

    `str(check)` is its text.

    Attributes:
        subject: what was checked, for people.
        judgement: of the tree; of a patch, of the tree with it.
        before: of a patch, of the tree without it.
    """

    subject: str
    judgement: Judgement
    before: Judgement | None = None

    @property
    def ok(self) -> bool:
        """Does no device get a wrong address?"""
        return not self.judgement.violations

    @property
    def exit_status(self) -> int:
        """0: no violation; 1: violations."""
        return 0 if self.ok else 1

    @property
    def brought(self) -> list[Fault]:
        """Which faults are there that were not before? Of a tree, all."""
        known = {fault.name for fault in self.before.faults} if self.before else set()
        return [fault for fault in self.judgement.faults if fault.name not in known]

    @property
    def mended(self) -> list[Fault]:
        """Which faults of before are gone?"""
        left = {fault.name for fault in self.judgement.faults}
        return (
            [fault for fault in self.before.faults if fault.name not in left] if self.before else []
        )

    def render(self, form: str) -> str:
        """Which text shows it? `form`: one of `FORMS`."""
        if form == "json":
            return json.dumps(self._document(), indent=2) + "\n"
        if form == "b4":
            return json.dumps([self._for_b4()], indent=2) + "\n"
        return "\n".join(self._lines()) + "\n"

    def __str__(self) -> str:
        return self.render("text").rstrip("\n")

    def _lines(self) -> Iterable[str]:
        judged = self.judgement
        yield from _labelled("subject", f"{self.subject}, Linux {judged.release}")
        yield from _labelled("convention", f"{judged.convention}: {CONVENTIONS[judged.convention]}")
        if judged.rsi is not None:
            yield from _labelled("Realm code", judged.rsi)
        told = f"{judged.asked} addresses, 32 to 52 IPA bits, with and without dma-ranges"
        yield from _labelled("asked", told)
        if self.before is not None:
            was = ", ".join(fault.name for fault in self.before.faults) or "no fault"
            yield from _labelled("before", f"{self.before.convention}; {was}")
            mends = ", ".join(fault.name for fault in self.mended)
            yield from _labelled("mends", mends or "nothing")
            brings = ", ".join(fault.name for fault in self.brought)
            yield from _labelled("brings", brings or "nothing")
        for fault in judged.faults:
            yield ""
            yield f"{fault.severity.upper()}  {fault.name}"
            yield from _labelled("  what", fault.message)
            yield from _labelled("  at", fault.place)
            yield from _labelled("  asked", fmt(fault.address))
            yield from _labelled("  answered", fmt(fault.got))
            yield from _labelled("  expected", _with_bit(fault))
            for label, where in zip_longest(("  in",), fault.where.split("; "), fillvalue=""):
                yield from _labelled(label, where)
        yield ""
        yield f"verdict: {self._verdict()}"

    def _verdict(self) -> str:
        count = len(self.judgement.violations)
        if count:
            return f"{count} violation{'s' if count > 1 else ''}"
        return "no violation"

    def _for_b4(self) -> dict[str, str]:
        status = "pass" if not self.judgement.faults else "warn" if self.ok else "fail"
        names = ", ".join(fault.name for fault in self.judgement.faults)
        summary = f"DMA address convention: {names}" if names else "DMA address convention: kept"
        return {"tool": "topbit", "status": status, "summary": summary, "details": str(self)}

    def _document(self) -> dict[str, object]:
        judged = self.judgement
        return {
            "subject": self.subject,
            "release": judged.release,
            "convention": judged.convention,
            "realm_code": judged.rsi,
            "asked": judged.asked,
            "ok": self.ok,
            "faults": [_told(fault) for fault in judged.faults],
            "before": self.before and {
                "convention": self.before.convention,
                "faults": [_told(fault) for fault in self.before.faults],
            },
            "brought": [fault.name for fault in self.brought] if self.before else [],
            "mended": [fault.name for fault in self.mended],
        }  # fmt: skip


def _with_bit(fault: Fault) -> str:
    """The right answer, and the shared bit if it stands in it."""
    bit = fault.shown[0][1] - 1
    return fmt(fault.expected) + (
        f" (bit {bit}, the shared bit)" if fault.expected >> bit & 1 else ""
    )


def _told(fault: Fault) -> dict[str, object]:
    return {
        "name": fault.name,
        "severity": fault.severity,
        "message": fault.message,
        "place": fault.place,
        "address": fmt(fault.address),
        "answered": fmt(fault.got),
        "expected": fmt(fault.expected),
        "shown": [
            {"build": str(build), "ipa_bits": bits} for build, bits in fault.shown
        ],
    }  # fmt: skip


def _labelled(label: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        100,
        initial_indent=f"{label:<{LABEL}} ",
        subsequent_indent=" " * (LABEL + 1),
        break_on_hyphens=False,
        break_long_words=False,
    )
