"""How does a device of the model become one that the Realm trusts?

The host assigns it, the guest accepts it, each by its own calls; here are only the device that
both speak of, where its registers are, and when the guest turns to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from topbit.arch.ipa import Ipa, Pa
from topbit.devices.tdi import TdiBehaviour, TrustedDevice
from topbit.events import Emit, Event
from topbit.host.rme import RmiError
from topbit.host.rme_ranges import RangeRealmHost
from topbit.host.rmi_da import RealmDevices
from topbit.linux.device import Device
from topbit.linux.kernel import Kernel
from topbit.rmm import Granules
from topbit.rmm.state import PSMMU
from topbit.scenario.scenario import Scenario
from topbit.scenario.tables import DeviceSpec
from topbit.vmm.vmm import Vmm

REGISTERS = Pa(0x1000_0000)  # no memory stands there; the guest has them at the same IPA
REGISTERS_SIZE = 0x2000
NEXT_REGISTERS = 0x1_0000


class TrustedDevices:
    """Which of the scenario's devices does the Realm trust, or shall it?

    Args:
        scenario: says how they behave, and when the guest accepts them.
        vmm, granules: the host and its memory; the devices' registers are added.
        kernel: the guest.
        emit: takes an event where host or guest did not get a device.
    """

    def __init__(
        self, scenario: Scenario, vmm: Vmm, granules: Granules, kernel: Kernel, emit: Emit
    ) -> None:
        self._scenario = scenario
        self._vmm = vmm
        self._granules = granules
        self._kernel = kernel
        self._emit = emit
        self._late: list[Callable[[], bool]] = []
        self._next = REGISTERS

    def attach(self, spec: DeviceSpec, sid: int, device: Device) -> bool:
        """Assign the device to the Realm, and let the guest accept it, now or later.

        False: it will not be used, since the RMM or the guest does not trust it.
        """
        registers = (self._next, REGISTERS_SIZE)
        self._next += NEXT_REGISTERS
        self._granules.add_device_memory(*registers)
        known = TrustedDevice(spec.name, [sid], [registers])
        expected = hashlib.sha512(known.record()).digest()
        misbehaves = spec.behaviour in set(TdiBehaviour)
        behaviour = TdiBehaviour(spec.behaviour) if misbehaves else TdiBehaviour.GOOD
        there = TrustedDevice(spec.name, [sid], [registers], behaviour)
        try:
            self._host().assign(sid, there, [registers])
        except RmiError as refused:
            said = f"the host could not assign the device: {refused}"
            self._emit(Event("host", "state", spec.name, sid, status="error", detail=said))
            return False

        def accept() -> bool:
            mapped = (Ipa(registers[0]), *registers)
            return self._kernel.accept(device, sid, [mapped], expected)

        if self._scenario.guest.accept == "late":
            self._late.append(accept)
            return True
        return accept()

    def _host(self) -> RealmDevices:
        """Who assigns devices to the Realm?"""
        if self._vmm.devices is None:
            assert isinstance(self._vmm.realm, RangeRealmHost)
            unmaps = not self._scenario.host.unlocks_mapped
            self._vmm.devices = RealmDevices(self._vmm.realm, PSMMU, unmaps=unmaps)
        return self._vmm.devices

    def accept_late(self) -> None:
        """A first request is over: let the guest accept what it did not accept before."""
        while self._late:
            self._late.pop(0)()

    def take_back(self, sid: int) -> None:
        """Let the host take a device from the Realm.

        Raises:
            RmiError: the RMM refused.
        """
        self._host().unlock(sid)
