"""topbit: device DMA in confidential virtual machines, run, checked and explained.

    import topbit

    report = topbit.check(topbit.run("seed"))
    assert report.ok, report

`run` a scenario, `read` files of a machine into recordings, `check` either, `explain` an address,
show the `matrix` of the convention, or the `table` of the addresses that kernels give to devices,
and `observe` whether a real kernel gives them.
Everything is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "DmaTable",
    "Finding",
    "GuestDiedError",
    "InputError",
    "KernelCheck",
    "Matrix",
    "Meaning",
    "MissingToolError",
    "ObservedTable",
    "Platform",
    "Recording",
    "Report",
    "RunError",
    "RunInterrupted",
    "Scenario",
    "ScenarioError",
    "TopbitError",
    "UsageError",
    "Verdict",
    "check",
    "check_kernel",
    "explain",
    "matrix",
    "observe",
    "read",
    "run",
    "scenarios",
    "table",
]

if TYPE_CHECKING:
    from topbit.addressing.explain import Meaning
    from topbit.api import (
        check,
        check_kernel,
        explain,
        matrix,
        observe,
        read,
        run,
        scenarios,
        table,
    )
    from topbit.errors import (
        GuestDiedError,
        InputError,
        MissingToolError,
        RunError,
        ScenarioError,
        TopbitError,
        UsageError,
    )
    from topbit.machine.interrupted import RunInterrupted
    from topbit.recording import Platform, Recording
    from topbit.report.dma_observed_table import ObservedTable
    from topbit.report.dma_table import DmaTable
    from topbit.report.kernel_check import KernelCheck
    from topbit.report.matrix import Matrix
    from topbit.report.report import Report
    from topbit.rules import Finding, Verdict
    from topbit.scenario import Scenario
else:
    # Type checkers must not see this: a module with __getattr__ has every name for them.
    _HOME = {
        "DmaTable": "topbit.report.dma_table",
        "Finding": "topbit.rules",
        "GuestDiedError": "topbit.errors",
        "InputError": "topbit.errors",
        "KernelCheck": "topbit.report.kernel_check",
        "Matrix": "topbit.report.matrix",
        "Meaning": "topbit.addressing.explain",
        "MissingToolError": "topbit.errors",
        "ObservedTable": "topbit.report.dma_observed_table",
        "Platform": "topbit.recording",
        "Recording": "topbit.recording",
        "Report": "topbit.report.report",
        "RunError": "topbit.errors",
        "RunInterrupted": "topbit.machine.interrupted",
        "Scenario": "topbit.scenario",
        "ScenarioError": "topbit.errors",
        "TopbitError": "topbit.errors",
        "UsageError": "topbit.errors",
        "Verdict": "topbit.rules",
        "check": "topbit.api",
        "check_kernel": "topbit.api",
        "explain": "topbit.api",
        "matrix": "topbit.api",
        "observe": "topbit.api",
        "read": "topbit.api",
        "run": "topbit.api",
        "scenarios": "topbit.api",
        "table": "topbit.api",
    }

    def __getattr__(name):
        """Load a public name from its room when it is first asked for (PEP 562)."""
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
        return value

    def __dir__():
        return sorted({*globals(), *__all__})
