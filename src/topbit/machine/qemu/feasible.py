"""Which scenarios cannot exist on QEMU, and why?

There the guest is a released kernel, the devices are QEMU's and behave, and the SMMU has 44 bits.
"""

from __future__ import annotations

from topbit.addressing.kernel_policy import policy_for
from topbit.errors import UsageError
from topbit.machine.qemu.host.shape import SMMU_BITS
from topbit.machine.qemu.process.pci_model import model_of
from topbit.machine.qemu.process.process import in_turns
from topbit.scenario.scenario import MIB, Scenario
from topbit.scenario.tables import TRUSTED_BEHAVIOURS, DeviceSpec, GuestSpec, RealmSpec

MODEL = "run it with --machine model"
LEAST_RAM_MIB = 1024
MOST_OF_RAM = 4
"""Which part of the guest's RAM may what it read from a disk take? One in so many."""
LOWEST_BITS = 41  # QEMU's PCIe window lies at 2^39..2^40


def guest_ram_mib(scenario: Scenario) -> int:
    """How much RAM has the guest? What is too little for Linux becomes `LEAST_RAM_MIB`."""
    return max(scenario.realm.ram_mib, LEAST_RAM_MIB)


def more_ram(scenario: Scenario) -> str:
    """What must be known if the guest has more RAM than the scenario says? Empty if it has not."""
    wanted = scenario.realm.ram_mib
    if wanted in (RealmSpec().ram_mib, guest_ram_mib(scenario)):
        return ""
    return f"realm.ram_mib={wanted} is too little here: the guest has {LEAST_RAM_MIB} MiB"


def vcpus_in_turns(cpus: int) -> str:
    """What must be known if the vCPUs do not run at the same time? Empty if they can."""
    if not in_turns(cpus):
        return ""
    return (
        f"QEMU runs the {cpus} vCPUs in turns: this machine has too few cores to run them at once"
    )


def refuse_impossible(scenario: Scenario) -> None:
    """Can QEMU be this platform?

    Raises:
        UsageError: it cannot; says what stands against it.
    """
    guest, vmm, bits = scenario.guest, scenario.vmm, scenario.realm.ipa_bits
    if bits < LOWEST_BITS:
        raise UsageError(
            f"QEMU's PCIe window at 2^39 to 2^40 does not fit {bits} bits",
            where="realm.ipa_bits",
            hint=f"give {LOWEST_BITS} or more, or {MODEL}",
        )
    for key in ("alias_for_shared", "canonical_before_lookup"):
        if getattr(guest, key) is not None:
            raise UsageError(
                "a real kernel cannot be told its conventions",
                where=f"guest.{key}",
                hint=f"give a kernel that has them with --kernel Image, or {MODEL}",
            )
    if guest.policy().proposal:
        raise UsageError(
            f"no released kernel does what {guest.kernel} says",
            where="guest.kernel",
            hint=f"build one, give its Image with --kernel and its release here, or {MODEL}",
        )
    if guest.private_dma_for_trusted:
        raise UsageError(
            "no released kernel gives trusted devices private addresses",
            where="guest.private_dma_for_trusted",
            hint=MODEL,
        )
    if guest.accept == "late":
        raise UsageError(
            "no released kernel accepts devices itself: it is done before the kernel starts",
            where="guest.accept",
            hint=MODEL,
        )
    if scenario.host.unlocks_mapped:
        raise UsageError(
            "the registers of QEMU's devices stay shared, so that none of them is ever mapped",
            where="host.unlocks_mapped",
            hint=MODEL,
        )
    if vmm.backing != "separate":
        raise UsageError(
            "on QEMU private and shared pages are always different memory",
            where="vmm.backing",
            hint=MODEL,
        )
    work, ram = scenario.workload, guest_ram_mib(scenario)
    if work.transfers * work.size > ram * MIB // MOST_OF_RAM:
        raise UsageError(
            f"{work.transfers} transfers of {work.size} bytes do not fit the guest's memory, where "
            f"it keeps what it read from a disk: {ram} MiB",
            where="workload.transfers",
            hint=f"give less, or realm.ram_mib {MOST_OF_RAM} times as large",
        )
    for device in scenario.device:
        _refuse_device(device, bits)
        if device.behaviour == "stale" and victim_of(device, scenario) is None:
            raise UsageError(
                "QEMU's devices forget addresses in time; only edu does what it is told",
                where=f"device {device.name}",
                hint='give it model = "edu", and beside it a device with a driver, which loses '
                f"the memory that it uses; or {MODEL}",
            )
    if sum(device.behaviour == "stale" for device in scenario.device) > 1:
        raise UsageError("one stale device is as many as a run can watch", where="device.behaviour")
    if sum(_has_wire(device) for device in scenario.device) > 1:
        raise UsageError("one network device is as many as a run can check", where="device.model")


def _has_wire(device: DeviceSpec) -> bool:
    return device.model == "virtio-net" or (
        device.kind == "assigned" and model_of(device.model).is_wire
    )


def _refuse_device(device: DeviceSpec, bits: int) -> None:
    where = f"device {device.name}"
    if device.dma_mask_bits != 64 or device.address_bits != 64:
        raise UsageError("QEMU's devices drive 64 address bits", where=where, hint=MODEL)
    if device.dma_offset:
        raise UsageError("QEMU's PCIe bus has no dma-ranges", where=where, hint=MODEL)
    if device.behaviour in TRUSTED_BEHAVIOURS:
        raise UsageError(
            "a released kernel binds its driver to a device that nobody trusts as well",
            where=where,
            hint=MODEL,
        )
    if device.kind == "emulated":
        return
    if bits > SMMU_BITS:
        raise UsageError(
            f"QEMU's SMMU takes {SMMU_BITS} bits, the Realm has {bits}",
            where=where,
            hint='give its devices kind = "emulated"',
        )
    if device.behaviour == "wild" and bits >= SMMU_BITS:
        raise UsageError(
            "QEMU drops addresses of 45 bits before its SMMU sees them",
            where=where,
            hint=f"give realm.ipa_bits {LOWEST_BITS} to {SMMU_BITS - 1}",
        )


def victim_of(device: DeviceSpec, scenario: Scenario) -> DeviceSpec | None:
    """Whose memory can a device with the behaviour "stale" use too late? None: nobody's."""
    if device.model != "edu" or device.kind != "assigned":
        return None
    others = (d for d in scenario.device if d.kind == "assigned" and not d.trusted)
    return next((d for d in others if d.behaviour == "good" and d.model != "edu"), None)


def kernel_of(scenario: Scenario, default: str) -> str:
    """Which kernel does the scenario want, if the user names none?"""
    wanted = scenario.guest.kernel
    return default if wanted == GuestSpec().kernel else wanted


def other_conventions(scenario: Scenario, release: str) -> str:
    """What must be known of a kernel whose release has other conventions than the scenario's one?

    Empty where the scenario names no kernel. What a build really does is seen in its addresses.
    """
    if scenario.guest.kernel == GuestSpec().kernel:
        return ""
    wanted, got = scenario.guest.policy(), policy_for(release)
    if wanted.alias_for_shared == got.alias_for_shared:
        return ""
    before = "before" if not wanted.alias_for_shared else "after"
    return (
        f"the scenario is about a kernel {before} the series (Linux {wanted}), and Linux "
        f"{release} is one of the others by its release: its DMA addresses tell what it does"
    )
