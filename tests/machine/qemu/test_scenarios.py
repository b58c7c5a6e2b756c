"""Scenarios on QEMU with a real kernel: the verdict, and that it is the model machine's.

A scenario is booted once, for all that looks at its run.
"""

import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

import needs
from topbit.cli import main
from topbit.machine.model.machine import ModelMachine
from topbit.machine.qemu.feasible import kernel_of
from topbit.machine.qemu.outcome import Outcome
from topbit.machine.qemu.scenario_run import ScenarioRun
from topbit.recording import Recording
from topbit.rules import check
from topbit.scenario import builtin, builtin_names, loads, override

pytestmark = pytest.mark.qemu

KERNEL = "6.18"
PATIENCE = 600  # seconds; a boot takes three, on a machine that has nothing else to do
IMPOSSIBLE = {
    "guest-before-fix",
    "firmware-plain",
    "firmware-plain-mapped",
    "trusted-masked",
    "trusted-private",
    "trusted-too-early",
    "trusted-unlocked-mapped",
    "trusted-changed",
    "trusted-page-destroyed",
    "stale-mapping",
    "missing-invalidate",
    "use-after-unmap",
    "narrow-mask",
    "narrow-lines",
    "dma-ranges",
    "dma-ranges-old-order",
}
SCENARIOS = [name for name in builtin_names() if name not in IMPOSSIBLE]
# What goes wrong in another way than in these is for the long series.
SHOWN = {
    "seed",
    "vmm-maps-protected",
    "stale-translation",
    "lying-rmm",
    "private-page-destroyed",
    "shared-page-destroyed",
    "stream-disabled",
    "events-lost",
    "wild-address",
}

Look = Callable[[Outcome], None]
LOOKS: dict[str, list[Look]] = defaultdict(list)


def looks_at(name: str) -> Callable[[Look], Look]:
    """Call what is decorated with the run of this scenario."""

    def register(look: Look) -> Look:
        LOOKS[name].append(look)
        return look

    return register


def boot(name: str) -> Outcome:
    needs.tool("qemu")
    needs.busybox()
    scenario = builtin(name)
    if "wild" not in name and "trusted" not in name:
        scenario = override(scenario, "workload.size=1024")
    kernel = needs.kernel(kernel_of(scenario, KERNEL))
    with ScenarioRun(scenario, kernel) as run:
        return run.run(timeout=PATIENCE)


def at_fault(recording: Recording) -> set[tuple[str, str]]:
    return {(f.agent, f.rule) for f in check(recording).findings if f.severity == "violation"}


def payload(recording: Recording) -> set[str]:
    return set(recording.of_kind("payload")["status"])


@looks_at("seed")
def every_payload_arrives_at_the_shared_half(run: Outcome) -> None:
    assert run.complete
    assert run.ending == "power off"
    assert at_fault(run.recording) == set()
    assert payload(run.recording) == {"ok"}
    assert run.recording.of_kind("payload").height == 8  # both ways of four devices
    assert {step.status for step in run.guest.steps.values()} == {0}
    platform = run.recording.platform
    assert platform.machine == "qemu"
    assert (platform.realm, platform.ipa_bits, platform.lost_events) == (True, 41, 0)
    assert platform.unparsed == []
    assert [size >> 20 for _, size in platform.pools] == [64]
    addresses = run.recording.of_kind("dma_map", "dma_alloc")["address"].to_list()
    assert len(addresses) > 100
    assert all(platform.has_shared_bit(a) for a in addresses)


@looks_at("seed")
def host_and_guest_are_on_one_clock(run: Outcome) -> None:
    """Every private page was free before, every allocation is of shared memory."""
    frame = run.recording.of_kind("convert", "dma_alloc", "dma_free")
    bit = 1 << 40
    shared: set[int] = set()
    used: set[int] = set()
    checked = 0
    for row in frame.iter_rows(named=True):
        start = row["phys"] if row["event"] == "convert" else (row["address"] or 0) & ~bit
        pages = set(range(start & -4096, start + row["size"], 4096)) if start else set()
        if row["event"] == "convert" and row["status"] == "shared":
            shared |= pages
        elif row["event"] == "convert":
            shared -= pages
            assert not used & pages
        elif row["event"] == "dma_alloc":
            checked += 1
            assert pages <= shared
            used |= pages
        else:
            used -= pages
    assert checked > 8


@looks_at("vmm-maps-protected")
def the_vmm_is_at_fault(run: Outcome) -> None:
    assert at_fault(run.recording) == {("vmm", "F1"), ("vmm", "V1")}
    nvme = run.recording.of_kind("payload").filter(device="0000:00:01.0")
    assert set(nvme["status"]) == {"none"}


@looks_at("wide-ipa")
def the_kernel_is_at_fault(run: Outcome) -> None:
    assert at_fault(run.recording) == {("guest", "H7")}
    assert "none" in payload(run.recording)


@looks_at("wild-address")
def the_device_is_at_fault(run: Outcome) -> None:
    assert at_fault(run.recording) == {("device", "F4")}


@looks_at("private-page-destroyed")
def a_destroyed_private_page_ends_the_run_with_the_reason(run: Outcome) -> None:
    assert run.ending.startswith("died: the host destroyed the page 0x")
    struck = run.recording.of_kind("state").filter(status="injected")
    assert struck["detail"].to_list() == ["the host destroyed a private page"]


@looks_at("shared-page-destroyed")
def a_destroyed_shared_page_is_an_abort_in_the_guest(run: Outcome) -> None:
    assert run.ending == "reset"
    assert "synchronous external abort" in run.last_words.lower()


@looks_at("stream-disabled")
def a_stream_that_is_disabled_stops_the_device_and_nothing_else(run: Outcome) -> None:
    assert run.complete
    assert set(run.recording.of_kind("smmu_event")["status"]) == {"C_BAD_STE"}
    assert payload(run.recording) == {"none"}


@looks_at("events-lost")
def lost_events_are_said_to_be_lost(run: Outcome) -> None:
    events = run.recording.of_kind("smmu_event", "smmu_lost")["event"].to_list()
    assert events[:4] == ["smmu_event"] * 4
    assert events.count("smmu_lost") == 1
    assert "F12" in {finding.rule for finding in check(run.recording).findings}


@looks_at("map-failure")
def a_guest_that_asks_for_ever_is_ended_at_once(run: Outcome) -> None:
    assert re.match(r"hung: the host refused \d{3,4} times in a row to make IPA 0x", run.ending)
    assert run.recording.platform.unfinished.endswith("; --log FILE keeps its console")


@looks_at("stale-translation")
def a_device_is_let_through_where_the_vmm_did_not_invalidate(run: Outcome) -> None:
    (access,) = run.recording.of_kind("access").iter_rows(named=True)
    assert (access["status"], access["attrs"]) == ("ok", "shared")
    assert not run.recording.has("smmu_event")
    assert payload(run.recording) == {"ok"}  # the other device, before and after


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in SHOWN else pytest.mark.slow) for n in SCENARIOS],
)
def test_both_machines_reach_the_same_verdict(name: str) -> None:
    run = boot(name)
    there = at_fault(run.recording)
    here = at_fault(ModelMachine(builtin(name)).run())
    # No kernel traces its address helpers, which rules H1 to H6 look at.
    traced = {(agent, rule) for agent, rule in here if rule not in {f"H{n}" for n in range(1, 7)}}
    assert there == traced
    for look in LOOKS[name]:
        look(run)


def test_every_look_is_at_a_scenario_that_is_booted() -> None:
    assert LOOKS.keys() <= set(SCENARIOS)
    assert SHOWN.issubset(SCENARIOS)


@pytest.mark.slow
def test_any_device_of_qemus_is_used_and_compared() -> None:
    needs.tool("qemu")
    disk, other = "qemu:nvme,drive={disk},serial=mine,mdts=3", "qemu:virtio-balloon-pci"
    scenario = loads(
        f'[[device]]\nname = "mine"\nmodel = "{disk}"\n'
        f'[[device]]\nname = "other"\nmodel = "{other},driver=virtio_pci"\n',
        "mine",
    )
    with ScenarioRun(scenario, needs.kernel(KERNEL)) as run:
        outcome = run.run(timeout=PATIENCE)
    assert outcome.complete
    assert payload(outcome.recording) == {"ok"}
    assert outcome.guest.steps["probe-other"].log == "virtio-pci\n"
    assert at_fault(outcome.recording) == set()


@pytest.mark.slow
def test_a_trusted_device_taken_away_by_the_host_stops() -> None:
    needs.tool("qemu")
    scenario = override(builtin("trusted-aliased"), "host.disable_stream=accel0")
    with ScenarioRun(scenario, needs.kernel(KERNEL)) as run:
        recording = run.run(timeout=PATIENCE).recording
    assert at_fault(recording) == {("host", "T1")}


@pytest.mark.parametrize("name", sorted(IMPOSSIBLE - {"guest-before-fix", "trusted-masked"}))
def test_what_cannot_exist_there_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", name, "--machine", "qemu"]) == 2
    assert "--machine model" in capsys.readouterr().err


def test_the_command_line_reports_the_command_and_stores_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needs.tool("qemu")
    needs.kernel(KERNEL)
    stored, log = tmp_path / "run.parquet", tmp_path / "console.log"
    scenario = tmp_path / "bare.toml"
    scenario.write_text('[[device]]\nname = "rng0"\nmodel = "virtio-rng"\n', encoding="utf-8")
    arguments = ["run", str(scenario), "--machine", "qemu", "--cpus", "2", "-o", str(stored)]
    assert main([*arguments, "--log", str(log), "--run", "nproc; exit 7"]) == 7
    captured = capsys.readouterr()
    assert captured.err == "2\n"
    assert "the guest's command ended with exit status 7" in captured.out
    assert captured.out.startswith("verdict  OK: no violation")
    assert b"Linux version" in log.read_bytes()
    assert Recording.read(stored).platform.kernel


def test_a_run_that_does_not_end_keeps_what_was_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needs.tool("qemu")
    needs.kernel(KERNEL)
    stored = tmp_path / "run.parquet"
    arguments = ["run", "vmm-maps-both", "--machine", "qemu", "--timeout", "1.5"]
    assert main([*arguments, "-o", str(stored)]) == 3
    captured = capsys.readouterr()
    assert "--timeout S gives it more time" in captured.err
    assert Recording.read(stored).has("ripas")
