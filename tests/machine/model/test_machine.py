"""Every built-in scenario on the model machine: the verdict, and who was at fault."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from topbit.arch.rmi import Rmi, Rmi2, RmiStatus
from topbit.errors import UsageError
from topbit.linux.cpu import SynchronousExternalAbort
from topbit.machine.model.machine import FIRST_SID, ITS_DOORBELL, ModelMachine
from topbit.recording import Recording
from topbit.rules import check
from topbit.rules.private_dma import private_dma
from topbit.scenario import DeviceSpec, Scenario, builtin, builtin_names, change, override
from topbit.scenario.scenario import MOST_DEVICES

# scenario -> {(agent, rule, device)} of its violations; nothing else may be found.
VERDICTS: dict[str, set[tuple[str, str, str | None]]] = {
    "seed": set(),
    "guest-before-fix": {
        ("guest", "M1", "nvme0"),
        ("guest", "M1", "virtio0"),
        ("guest", "H3", "nvme0"),
        ("guest", "H3", "virtio0"),
        ("guest", "F2", "nvme0"),
    },
    "vmm-maps-protected": {("vmm", "V1", "nvme0"), ("vmm", "F1", "nvme0")},
    "vmm-maps-both": set(),
    "vmm-maps-nothing": {("vmm", "V1", "nvme0"), ("vmm", "F1", "nvme0")},
    "vmm-does-not-mask": {("vmm", "V8", "virtio0")},
    "firmware-plain": {
        ("guest", "M1", "nvme0"),
        ("guest", "M1", "virtio0"),
        ("guest", "H3", "nvme0"),
        ("guest", "H3", "virtio0"),
        ("guest", "F2", "nvme0"),
    },
    "firmware-plain-mapped": {
        ("guest", "M1", "nvme0"),
        ("guest", "M1", "virtio0"),
        ("guest", "H3", "nvme0"),
        ("guest", "H3", "virtio0"),
    },
    "trusted-aliased": set(),
    "trusted-masked": {("guest", "H3", "accel0")},
    "trusted-private": set(),
    "trusted-without-dma": {("guest", "T1", "accel0")},
    "trusted-too-early": {("guest", "T1", "accel0")},
    "trusted-unlocked-mapped": set(),
    "trusted-changed": {("device", "T2", "accel0")},
    "trusted-page-destroyed": {("host", "P10", None)},
    "stale-mapping": {
        ("vmm", "V3", None),
        ("vmm", "V7", None),
        ("vmm", "P4", "nvme0"),
        ("device", "A2", "nvme0"),
    },
    "map-failure-ignored": {
        ("vmm", "V1", "nvme0"),
        ("vmm", "F1", "nvme0"),
        ("vmm", "V7", None),
    },
    "map-failure": set(),
    "missing-invalidate": {
        ("vmm", "A1", "nvme0"),
        ("vmm", "P4", "nvme0"),
        ("device", "A2", "nvme0"),
    },
    "stale-translation": {("vmm", "A1", "edu0"), ("device", "A2", "edu0")},
    "doorbell-unmapped": {("vmm", "F10", "rng0")},
    "lying-rmm": {("rmm", "R1", None)},
    "private-page-destroyed": {("host", "P10", None)},
    "shared-page-destroyed": {("host", "P11", None)},
    "stream-disabled": {("host", "F9", "nvme0")},
    "events-lost": {("vmm", "V1", "nvme0"), ("vmm", "F1", "nvme0")},
    "use-after-unmap": {("device", "F3", "nvme0"), ("device", "A2", "nvme0")},
    "wild-address": {("device", "F4", "nvme0")},
    "narrow-mask": set(),
    "narrow-lines": {("device", "F2", "nvme0")},
    "dma-ranges": set(),
    "dma-ranges-old-order": {("guest", "H1", "nvme0"), ("guest", "H2", "nvme0")},
    "wide-ipa": {("guest", "H3", "virtio0"), ("guest", "H7", "virtio0")},
}


# scenario -> what is answered of the mappings of its trusted devices, but for the reason.
PRIVATE_DMA: dict[str, set[str]] = {
    "seed": {"not confidential"},
    "trusted-aliased": {"not confidential"},
    "trusted-masked": {"not confidential"},
    "trusted-private": {"confidential"},
    "trusted-without-dma": {"not confidential"},
    "trusted-too-early": {"not confidential"},
    "trusted-unlocked-mapped": {"not confidential"},
    "trusted-page-destroyed": {"confidential", "not confidential", "inconclusive"},
}


def _found(name: str) -> set[tuple[str, str, str | None]]:
    checked = check(ModelMachine(builtin(name)).run())
    return {(f.agent, f.rule, f.device) for f in checked.findings if f.severity == "violation"}


@pytest.mark.parametrize("name", builtin_names())
def test_verdict(name: str) -> None:
    assert _found(name) == VERDICTS[name]


@pytest.mark.parametrize("name", builtin_names())
def test_private_dma(name: str) -> None:
    mappings = private_dma(ModelMachine(builtin(name)).run())
    assert {mapping.reason.answer for mapping in mappings} == PRIVATE_DMA.get(name, set())


@pytest.mark.parametrize(
    ("setting", "answers"),
    [
        ("guest.accept=no-dma", {"not confidential": 9}),
        ("guest.accept=late", {"not confidential": 2, "confidential": 7}),
        ("host.disable_stream=accel0", {"not confidential": 9}),
        ("accel0.behaviour=changes-measurement", {}),
        ("vmm.smmu_map=both", {"confidential": 9}),
        ("vmm.backing=in-place", {"confidential": 9}),
    ],
)
def test_private_dma_of_a_device_that_is_given_private_memory(
    setting: str, answers: dict[str, int]
) -> None:
    machine = ModelMachine(override(builtin("trusted-private"), setting))
    found = Counter(str(mapping.reason.answer) for mapping in private_dma(machine.run()))
    assert found == answers


def test_data_arrives_exactly_where_the_convention_is_kept() -> None:
    for name in ("seed", "vmm-maps-both", "trusted-aliased", "trusted-private", "dma-ranges"):
        payload = ModelMachine(builtin(name)).run().of_kind("payload")
        assert set(payload["status"]) == {"ok"}, name
    lost = ModelMachine(builtin("dma-ranges-old-order")).run().of_kind("payload")
    # What the device wrote is never copied back: the driver is told that all is well.
    assert lost.filter(direction="w")["status"].to_list() == ["wrong"] * 4
    assert lost.filter(direction="r")["status"].to_list() == ["ok"] * 4


def test_a_trusted_device_reaches_shared_memory_at_the_alias_and_private_memory_below() -> None:
    shared = ModelMachine(builtin("trusted-aliased")).run().of_kind("access")
    assert set(shared["attrs"]) == {"shared"}
    private = ModelMachine(builtin("trusted-private")).run().of_kind("access")
    assert set(private["attrs"]) == {"private"}


def test_as_many_devices_as_a_scenario_takes_all_work() -> None:
    devices = tuple(DeviceSpec(f"d{number}") for number in range(MOST_DEVICES))
    payload = ModelMachine(Scenario("many", device=devices)).run().of_kind("payload")
    assert set(payload["device"]) == {device.name for device in devices}
    assert set(payload["status"]) == {"ok"}


def test_granule_protection_stops_a_stale_mapping() -> None:
    events = ModelMachine(builtin("stale-mapping")).run()
    stopped = events.of_kind("access").filter(pl.col("status") == "GPF")
    assert not stopped.is_empty()
    assert set(stopped["attrs"]) == {"private"}
    assert "wrong" not in set(events.of_kind("payload")["status"])  # and nothing was changed


def test_a_missing_invalidation_lets_a_device_through_where_the_table_no_longer_does() -> None:
    def ring_writes(name: str) -> str:
        access = ModelMachine(builtin(name)).run().of_kind("access")
        return str(access["status"].to_list()[-1])

    assert ring_writes("use-after-unmap") == "F_TRANSLATION"
    assert ring_writes("missing-invalidate") == "GPF"


@pytest.mark.parametrize("ipa_bits", range(33, 53))
def test_every_width_works_with_a_kernel_that_knows_it(ipa_bits: int) -> None:
    scenario = override(builtin("seed"), f"realm.ipa_bits={ipa_bits}")
    recording = ModelMachine(scenario).run()
    assert set(recording.of_kind("payload")["status"]) == {"ok"}
    bit = 1 << (ipa_bits - 1)
    addresses = recording.of_kind("dma_map", "dma_alloc")["address"].to_list()
    assert addresses
    assert all(a & bit and a < 2 * bit for a in addresses)


def test_the_same_scenario_makes_the_same_recording() -> None:
    first = ModelMachine(builtin("seed")).run().frame
    assert first.equals(ModelMachine(builtin("seed")).run().frame)


def test_the_recording_is_one_parquet_file_that_any_tool_reads(tmp_path: Path) -> None:
    path = tmp_path / "seed.parquet"
    recording = ModelMachine(builtin("seed")).run()
    recording.write(path)
    assert pl.read_parquet(path).height == recording.frame.height
    again = Recording.read(path)
    assert again.platform == recording.platform
    assert again.frame.equals(recording.frame)


def test_a_trusted_device_has_a_stream_only_once_the_guest_has_accepted_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = ModelMachine(builtin("trusted-aliased"))
    assert machine.rmm.trusted_stream(FIRST_SID) is None
    accesses = machine.run().of_kind("access")
    assert set(accesses["status"]) == {"ok"}
    assert machine.rmm.trusted_stream(FIRST_SID) is machine.rmm.realm(machine.vmm.realm.rd)

    machine = ModelMachine(builtin("trusted-aliased"))
    monkeypatch.setattr(machine.kernel, "accept", lambda *accepted: True)
    assert set(machine.run().of_kind("access")["status"]) == {"C_BAD_STE"}


@pytest.mark.parametrize("pa", [0, (1 << 48) - 0x1000])
def test_an_unprotected_mapping_to_no_memory_aborts_the_access(pa: int) -> None:
    machine = ModelMachine(builtin("seed"))
    machine.kernel.boot()
    alias = machine.space.unprotected(machine.kernel.pool.start)
    assert machine.cpu.load(alias, 8) == bytes(8)
    machine.vmm.realm.unmap_unprotected(alias)
    machine.rmm.interrupt(machine.cpu.rec)
    machine.vmm.realm.map_unprotected(alias, pa)
    machine.vmm.enter(machine.cpu.rec)
    with pytest.raises(SynchronousExternalAbort):
        machine.cpu.load(alias, 8)


@pytest.mark.parametrize("told", [32, 33, 40, 42, 52])
def test_a_realm_that_is_told_a_wrong_width_ends_and_only_the_rmm_is_blamed(told: int) -> None:
    scenario = override(builtin("seed"), f"realm.told_ipa_bits={told}")
    machine = ModelMachine(scenario)
    checked = check(machine.run())
    assert "synchronous external abort" in machine.died
    assert {f.agent for f in checked.findings if f.severity == "violation"} == {"rmm"}


def until_the_pool_is_used_again(scenario: Scenario) -> Scenario:
    """Linux goes through all of its pool before it uses a slot again."""
    return change(scenario, ["guest.swiotlb_mib=1", "workload.transfers=40"])


def test_a_destroyed_page_ends_the_guest_when_it_uses_it() -> None:
    machine = ModelMachine(builtin("private-page-destroyed"))
    recording = machine.run()
    assert machine.died.startswith("the host destroyed the page 0x")
    struck = recording.of_kind("state").filter(status="injected")
    assert struck["detail"].to_list() == ["the host destroyed a private page"]

    machine = ModelMachine(until_the_pool_is_used_again(builtin("shared-page-destroyed")))
    machine.run()
    assert machine.died.startswith("synchronous external abort at IPA 0x00000100")


@pytest.mark.parametrize(
    ("settings", "notes"),
    [
        (("host.destroy_page=private", "host.disable_stream=nvme0"), []),
        (("host.destroy_page=private", "host.disable_stream=net0"), ["did not do all that"]),
        (("host.disable_stream=net0", "workload.transfers=0"), ["never did what"]),
    ],
)
def test_what_the_host_was_to_do_and_did_not_is_told(
    settings: Sequence[str], notes: list[str]
) -> None:
    scenario = builtin("seed")
    for setting in settings:
        scenario = override(scenario, setting)
    found = ModelMachine(scenario).run().platform.notes
    assert [note for note in found if "it was to do" in note] == [
        f"the host {how} it was to do in the middle of the work" for how in notes
    ]


def test_the_host_takes_the_page_that_the_device_reaches_through_its_bus() -> None:
    scenario = override(builtin("dma-ranges"), "host.destroy_page=shared")
    machine = ModelMachine(until_the_pool_is_used_again(scenario))
    recording = machine.run()
    struck = recording.of_kind("state").filter(status="injected")
    assert struck["detail"].to_list() == ["the host unmapped a shared page"]
    assert machine.died.startswith("synchronous external abort at IPA 0x00000100")


def test_a_host_may_take_a_trusted_device_away_as_well() -> None:
    scenario = override(builtin("trusted-aliased"), "host.disable_stream=accel0")
    machine = ModelMachine(scenario)
    checked = check(machine.run())
    assert {(f.agent, f.rule) for f in checked.findings} == {("host", "T1")}
    assert machine.rmm.trusted_stream(FIRST_SID) is None


@pytest.mark.parametrize(
    ("behaviour", "seen"),
    [
        ("wrong-nonce", "the measurements have another nonce"),
        ("wrong-key", "the device does not have the key"),
        ("unlocks-itself", "the interface is not in RUN"),
        ("changes-measurement", "accel0: its measurements are not the known ones"),
    ],
)
def test_a_device_that_cannot_be_trusted_is_named_and_not_used(behaviour: str, seen: str) -> None:
    machine = ModelMachine(override(builtin("trusted-aliased"), f"accel0.behaviour={behaviour}"))
    recording = machine.run()
    (finding,) = check(recording).findings
    assert (finding.rule, finding.agent, finding.device) == ("T2", "device", "accel0")
    assert finding.seen == seen
    assert not recording.has("access")
    assert recording.of_kind("payload")["status"].to_list() == ["none"]
    assert machine.rmm.trusted_stream(FIRST_SID) is None


def test_a_device_whose_registers_are_mapped_is_not_taken_back() -> None:
    machine = ModelMachine(builtin("trusted-unlocked-mapped"))
    recording = machine.run()
    (said,) = recording.of_kind("state")["detail"]
    assert said.startswith("the host could not make the stream of the device invalid: ")
    assert "ERROR_GRANULE" in said
    assert set(recording.of_kind("payload")["status"]) == {"ok"}
    assert machine.rmm.trusted_stream(FIRST_SID) is machine.rmm.realm(machine.vmm.realm.rd)


def test_a_queue_that_is_read_in_time_loses_nothing() -> None:
    scenario = builtin("events-lost")
    lost = ModelMachine(scenario).run()
    assert lost.of_kind("smmu_lost").height == lost.of_kind("smmu_event").height - 4
    assert "F12" in {f.rule for f in check(lost).findings}
    read = ModelMachine(override(scenario, "host.reads_events=true")).run()
    assert not read.has("smmu_lost")


def test_an_interrupt_reaches_the_doorbell_and_nothing_else() -> None:
    writes = ModelMachine(builtin("vmm-maps-both")).run().of_kind("access").filter(size=4)
    assert set(writes["status"]) == {"ok"}
    assert set(writes["pa"]) == {ITS_DOORBELL}
    log = ModelMachine(builtin("doorbell-unmapped")).run().of_kind("trouble")["detail"].to_list()
    assert sum("completion polled" in line for line in log) == 8


def test_what_the_rmm_refuses_the_vmm_refuses_and_the_guest_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = ModelMachine(builtin("seed"))
    call = machine.rmm.rmi
    refused = []

    def rmi(fid: int, args: Sequence[int] = ()) -> tuple[int, ...]:
        if fid == Rmi2.RTT_UNPROT_MAP and args[2] - args[1] == 4096 and not refused:
            refused.append(args[1])
            return (int(RmiStatus.ERROR_INPUT), 0)
        return call(fid, args)

    monkeypatch.setattr(machine.rmm, "rmi", rmi)
    recording = machine.run()
    errors = recording.of_kind("convert").filter(status="error")
    assert errors["detail"].to_list() == ["refused: RMI_RTT_UNPROT_MAP: ERROR_INPUT, index 0"]
    assert errors["attrs"].to_list() == ["shared"]
    assert machine.died.startswith("synchronous external abort")  # RIPAS is EMPTY already
    mapped = machine.vfio.table.lookup(refused[0])
    assert mapped is None  # and no device reaches the page


def test_a_vcpu_that_the_rmm_does_not_run_any_more_ends_the_run_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = ModelMachine(builtin("seed"))
    call = machine.rmm.rmi

    def rmi(fid: int, args: Sequence[int] = ()) -> tuple[int, ...]:
        return (int(RmiStatus.ERROR_REC),) if fid == Rmi.REC_ENTER else call(fid, args)

    monkeypatch.setattr(machine.rmm, "rmi", rmi)
    machine.run()
    assert machine.died == (
        "the RMM does not run the vCPU any more: RMI_REC_ENTER: ERROR_REC, index 0"
    )


def test_drivers_that_are_bound_again_and_again_work_and_leave_nothing_shared() -> None:
    shared = set()
    for times in (0, 1, 7):
        recording = ModelMachine(override(builtin("seed"), f"workload.rebinds={times}")).run()
        assert set(recording.of_kind("payload")["status"]) == {"ok"}
        ranges = recording.of_kind("convert").select("status", "size").iter_rows()
        pages = sum(size if status == "shared" else -size for status, size in ranges)
        if times:
            shared.add(pages)
    assert len(shared) == 1


@pytest.mark.parametrize(
    "key", ["readers=1", "network_mib=1", "reloads=1", "unplug=true", "hotplug=true"]
)
def test_work_that_only_a_real_kernel_does_is_refused(key: str) -> None:
    with pytest.raises(UsageError, match="--machine qemu"):
        ModelMachine(override(builtin("seed"), f"workload.{key}"))
