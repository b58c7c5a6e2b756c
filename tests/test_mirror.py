"""Each module has a test file at its place in the mirrored tree, or a reason why it has none."""

from pathlib import Path

import topbit
from paths import ROOT

SOURCE = Path(topbit.__file__).parent
TESTS = ROOT / "tests"

# Test file -> the modules that it holds without mirroring them: parts of what it looks at.
HELD_BY = {
    "addressing/proofs/test_prove.py": """
        addressing/proofs/false addressing/proofs/lemma addressing/proofs/true_of_dma
        addressing/proofs/true_of_halves addressing/proofs/unknowns
    """,
    "cli/test_cli_check.py": "cli/check",
    "cli/test_cli_kernel.py": "cli/kernel",
    "cli/test_cli_report.py": "cli/report",
    "cli/test_cli_run.py": "cli/run cli/run_qemu cli/scenario",
    "cli/test_cli_table.py": "cli/table",
    "store/test_tools.py": "cli/tool",
    "devices/test_dma_engine.py": "devices/bus",
    "machine/model/test_machine.py": """
        machine/injection machine/model/injection machine/model/realm_streams
        machine/model/trusted machine/model/vcpu machine/model/workload machine/rsi_call
    """,
    "machine/qemu/guest/test_devices.py": """
        machine/qemu/guest/device machine/qemu/guest/disk machine/qemu/guest/edu
        machine/qemu/guest/nic
    """,
    "machine/qemu/guest/test_steps.py": "machine/qemu/guest/init",
    "machine/qemu/host/test_realm_streams.py": """
        machine/qemu/host/memory_map machine/qemu/host/shape
    """,
    "machine/qemu/test_hostile_guest.py": "machine/qemu/el2/traps machine/qemu/el2/vcpus",
    "machine/qemu/test_realm_boot.py": "machine/qemu/machine",
    "machine/qemu/test_scenarios.py": "machine/qemu/scenario_run",
    "machine/qemu/process/test_process.py": "machine/qemu/process/qmp",
    "readers/bulk/test_survey.py": """
        readers/bulk/chunk readers/bulk/compiled readers/bulk/compiled_needles
        readers/bulk/compiled_text readers/bulk/dull_lines
        readers/bulk/event_columns readers/bulk/helper
        readers/bulk/known readers/bulk/scan readers/bulk/scatterlists readers/bulk/stored
        readers/bulk/surveyor readers/bulk/trace_forms readers/bulk/trace_lines
    """,
    "replay/test_unmaps.py": "replay/compiled replay/loops replay/unmap_terms",
    "readers/trace_dat/test_cpu_columns.py": """
        readers/trace_dat/bulk_pages readers/trace_dat/bulk_records
    """,
    "readers/ftrace/test_line.py": "readers/ftrace/events readers/ftrace/iommu",
    "readers/kernel_log/test_iommus.py": """
        readers/kernel_log/amd_vi readers/kernel_log/dmar readers/kernel_log/smmu_v2
    """,
    "readers/kernel_log/test_log.py": "readers/kernel_log/message",
    "readers/kernel_log/test_memory_state.py": "readers/kernel_log/host",
    "readers/test_read.py": "readers/boot readers/lines readers/text",
    "readers/test_roles.py": """
        readers/firmware_log readers/options readers/owners readers/platform_facts
    """,
    "readers/test_schemes.py": "readers/kernel_log/facts",
    "readers/test_source.py": "readers/encoding",
    "readers/test_wrapping.py": "readers/containers readers/joined readers/needles",
    "readers/vmm_log/test_log.py": """
        readers/vmm_log/kvmtool readers/vmm_log/qemu readers/vmm_log/rust_vmm
    """,
    "readers/trace_dat/test_reader.py": "readers/trace_dat/event_format",
    "report/test_report.py": "report/boot",
    "rmm/test_granules.py": "arch/gpt",
    "rmm/rmi/test_op.py": "arch/rmi_range rmm/operation",
    "rmm/rmi/test_realm.py": "rmm/realm",
    "rmm/rmi/test_run.py": "rmm/rec_run rmm/rmi/rec",
    "rmm/rmi/test_vdev.py": "rmm/device rmm/rmi/communicate",
    "rmm/rsi/test_vdev.py": "rmm/rmi/dev_mem",
    "rmm/test_handlers.py": "arch/rmi_revision",
    "rmm/test_replay_rmm.py": "rmm/rsi/ripas",
    "rmm/test_rmm_invariants.py": "rmm/rmi/features rmm/state",
    "smmu/test_smmu.py": "smmu/configuration",
    "smmu/test_translate.py": "smmu/batch",
}
# Module -> why there is nothing of its own to test.
NOTHING_TO_TEST = {
    "__main__": "hands on to topbit.cli",
    "arch/dma_engine": "numbers and offsets",
    "arch/psci": "numbers",
    "arch/rhi": "numbers",
    "arch/rmi": "numbers and structures",
    "arch/rmi_da": "numbers and structures",
    "arch/rmi_params": "numbers and structures",
    "arch/rsi": "numbers and structures",
    "arch/virtio": "numbers and structures",
    "events": "the event's columns; recording/test_recording.py holds them against the schema",
    "linux/device": "a record without methods",
}


def modules() -> set[str]:
    """Which modules are there, by their place without .py?"""
    paths = (path for path in SOURCE.rglob("*.py") if path.name != "__init__.py")
    return {str(path.relative_to(SOURCE).with_suffix("")) for path in paths}


def mirrored() -> set[str]:
    """Of which modules is a test file at the mirrored place?"""
    return {
        name
        for name in modules()
        if (TESTS / name).with_name(f"test_{Path(name).name}.py").exists()
    }


def excused() -> list[str]:
    return [*NOTHING_TO_TEST, *(name for held in HELD_BY.values() for name in held.split())]


def test_each_module_has_a_test_file_or_a_reason() -> None:
    assert sorted(modules() - mirrored() - set(excused())) == []


def test_no_reason_is_stale() -> None:
    """A module that is gone, or has a test file by now, needs none; and one is enough."""
    assert sorted(set(excused()) - modules()) == []
    assert sorted(set(excused()) & mirrored()) == []
    assert len(excused()) == len(set(excused()))


def test_the_tests_that_hold_others_are_there() -> None:
    assert [test for test in HELD_BY if not (TESTS / test).is_file()] == []
