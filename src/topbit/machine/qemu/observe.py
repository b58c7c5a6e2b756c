"""What does a real kernel give to devices that ask its DMA API? One boot, many questions."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from topbit.arch.ipa import IpaSpace
from topbit.errors import InputError
from topbit.machine.qemu.guest import asking
from topbit.machine.qemu.guest.answers import Answer, answers
from topbit.machine.qemu.guest.ask_module import Layout, Question, module
from topbit.machine.qemu.guest.asking import Ask
from topbit.machine.qemu.host.shape import SMMU_BITS
from topbit.machine.qemu.options import QemuOptions
from topbit.machine.qemu.process.pci import pci_name
from topbit.machine.qemu.run import Say, chosen_kernel, run
from topbit.recording import Recording
from topbit.scenario.scenario import Scenario
from topbit.scenario.tables import DeviceSpec, RealmSpec, WorkloadSpec
from topbit.store.download import Fetched
from topbit.store.kernels import Kernel

UNTRUSTED, TRUSTED, INCOHERENT = "edu0", "edu1", "serial8250"
"""Which devices are asked for? Two of QEMU's `edu` behind its SMMU, one of them accepted into the
Realm; and one that is only a name of the kernel's, whose accesses it takes to be not coherent with
the caches."""
BRIDGE = "4010000000.pcie"
"""In a Realm that is too wide for QEMU's SMMU the PCIe bridge takes the place of `UNTRUSTED`: its
settings are those of any device, and nothing is moved (hw/arm/virt.c:create_pcie)."""
WORKING, WORKS = "virtio0", 50
"""A disk in the VMM whose own driver works, and up to which width: above it, drivers of kernels
that make the shared bit of page-table values (7.0 on) wait for ever."""
REGISTERS = 0x1000_0000
"""Device registers: QEMU's PCIe window for them begins here (hw/arm/virt.c:base_memmap)."""
PATIENCE = 900.0
"""Seconds for one boot, if nobody says otherwise: a machine with other work takes minutes."""
LOG_BYTES = "8M"
"""The kernel's log has room for the warning of each question."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen in one boot?

    Attributes:
        ipa_bits: width of the Realm's IPA space.
        recording: all of it.
        asks: what was asked.
        answers: what came of it, by number, from 1.
        ending: empty, or how the guest ended before it was done.
    """

    ipa_bits: int
    recording: Recording
    asks: tuple[Ask, ...]
    answers: dict[int, Answer]
    ending: str = ""


def has_pci(ipa_bits: int) -> bool:
    """Is QEMU's SMMU wide enough for a Realm of this width?"""
    return ipa_bits <= SMMU_BITS


def devices(ipa_bits: int) -> dict[str, str]:
    """Which devices are asked for in a Realm of this width, and what does the kernel call them?"""
    if not has_pci(ipa_bits):
        return {name: name for name in (BRIDGE, INCOHERENT)}
    return {UNTRUSTED: pci_name(1), TRUSTED: pci_name(2), INCOHERENT: INCOHERENT}


def kernel_for(options: QemuOptions, note: Say, fetched: Fetched) -> Kernel:
    """Which kernel do the options name? Raises as `machine.qemu.run.run`."""
    return chosen_kernel(Scenario("observe"), options, note, fetched)


def observe(
    kernel: Kernel,
    ipa_bits: int,
    asks: Sequence[Ask],
    options: QemuOptions,
    *,
    note: Say,
    progress: Say,
    fetched: Fetched,
) -> Observation:
    """Boot the kernel and ask; what came of it?

    Args:
        kernel: which one; `options` name the same.
        ipa_bits: width of the Realm's IPA space.
        asks: by devices that are there.
        options: of the QEMU machine.
        note, progress, fetched: as `machine.qemu.run.run`.

    Raises:
        InputError: the kernel has no modules, or its page tables' form is not known.
        UsageError, RunError: as `machine.qemu.run.run`.
    """
    names = devices(ipa_bits)
    with tempfile.TemporaryDirectory(prefix="topbit-ask-") as folder:
        _write_modules(Path(folder), kernel, asks, names)
        append = f"{options.get('append', '')} log_buf_len={LOG_BYTES}".strip()
        outcome = run(
            _scenario(ipa_bits),
            {
                "timeout": PATIENCE,
                **options,
                "command": asking.script(asks, names, IpaSpace(ipa_bits)),
                "add": [f"{folder}:/{asking.FOLDER}"],
                "append": append,
            },
            note=note,
            progress=progress,
            fetched=fetched,
        )
    return seen_in(outcome.recording, asks, "" if outcome.complete else outcome.ending)


def seen_in(recording: Recording, asks: Sequence[Ask], ending: str = "") -> Observation:
    """What is in the recording of such a run?"""
    bits = recording.platform.ipa_bits
    assert bits is not None
    found = answers(recording, asks, devices(bits))
    return Observation(bits, recording, tuple(asks), found, ending)


def _scenario(ipa_bits: int) -> Scenario:
    found = []
    if has_pci(ipa_bits):
        found += [
            DeviceSpec(UNTRUSTED, model="edu"),
            DeviceSpec(TRUSTED, model="edu", trusted=True),
        ]
    if ipa_bits <= WORKS:
        found.append(DeviceSpec(WORKING, kind="emulated"))
    return Scenario(
        "observe",
        realm=RealmSpec(ipa_bits=ipa_bits),
        device=tuple(found),
        workload=WorkloadSpec(transfers=1, size=4096, rebinds=0),
    )


def _write_modules(
    folder: Path, kernel: Kernel, asks: Sequence[Ask], names: dict[str, str]
) -> None:
    driver = kernel.tree().closure([asking.DRIVER])
    if not driver:
        raise InputError(
            f"Linux {kernel.release} has {asking.DRIVER} built in: there is no module to learn its "
            "modules' layout from",
            where=str(kernel.image),
        )
    (folder / "driver").mkdir()
    for number, one in enumerate(driver):
        (folder / "driver" / f"{number}.ko").write_bytes(one.data)
    layout = _layout(kernel)
    for number, ask in enumerate(asks, 1):
        question = Question(
            number,
            ask.op,
            names[ask.device],
            ask.mask_bits,
            asking.size_of(number),
            ask.attrs,
            atomic=ask.atomic,
            phys=REGISTERS,
        )
        (folder / f"{number}.ko").write_bytes(module(question, driver[-1], layout))


def _layout(kernel: Kernel) -> Layout:
    image = kernel.read()
    options = image.configuration
    folders = [kernel.image.parent, *([kernel.modules] if kernel.modules else [])]
    for path in (folder / name for folder in folders for name in ("config", ".config")):
        if not options and path.is_file():
            text = path.read_text("utf-8", "replace")
            options = frozenset(re.findall(r"^CONFIG_(\w+)=y$", text, re.MULTILINE))
    bits = [int(word[-2:]) for word in options if re.fullmatch(r"ARM64_VA_BITS_\d\d", word)]
    if len(bits) != 1 or not image.page_size:
        raise InputError(
            f"it is not known how Linux {kernel.release} lays its address space out",
            where=str(kernel.image),
            hint="build it with CONFIG_IKCONFIG, or put its configuration beside it as `config`",
        )
    return Layout(bits[0], image.page_size.bit_length() - 1)
