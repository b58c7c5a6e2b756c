"""What can a program ask of topbit? The functions behind `import topbit`.

    recording = topbit.run("seed", settings={"vmm.smmu_map": "protected"})
    report = topbit.check(recording)
    assert report.ok, report

They join the rooms and do no work of their own; each loads what it needs when it is called. The
verbs of the command line are written on them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias, Unpack, overload

from topbit.errors import UsageError, nearest

if TYPE_CHECKING:
    from topbit.addressing.explain import Meaning
    from topbit.kernel_tree.tree import SourceTree
    from topbit.machine.qemu.options import QemuOptions
    from topbit.readers.options import ReadOptions
    from topbit.recording import Recording
    from topbit.report.dma_observed_table import ObservedTable
    from topbit.report.dma_table import DmaTable
    from topbit.report.kernel_check import KernelCheck
    from topbit.report.matrix import Matrix
    from topbit.report.report import Report
    from topbit.scenario import Scenario
    from topbit.scenario.toml import Settings, Wanted

StrPath: TypeAlias = str | os.PathLike[str]
MACHINES = ("model", "qemu")


def _nobody(told: object) -> None:
    """Who wants to know? Nobody."""


def _nobody_fetches(what: str, came: int, size: int) -> None:
    """Who wants to know how far a download is? Nobody."""


def run(
    scenario: Wanted = "seed",
    *,
    settings: Settings = (),
    machine: Literal["model", "qemu"] = "model",
    vmm: str | os.PathLike[str] | None = None,
    note: Callable[[str], None] = _nobody,
    progress: Callable[[str], None] = _nobody,
    fetched: Callable[[str, int, int], None] = _nobody_fetches,
    output: Callable[[bytes], None] | None = None,
    **options: Unpack[QemuOptions],
) -> Recording:
    """What does every agent do when this scenario runs?

    Args:
        scenario: a built-in name (`topbit scenario list`), the path of a TOML file, TOML text of
            several lines, or a `Scenario`.
        settings: what to change in it, `{"realm.ipa_bits": 44, "nvme0.trusted": True}`, or as
            --set takes it, `["realm.ipa_bits=44"]`.
        machine: "model": everything in Python, in a second; "qemu": a real kernel on QEMU's CPU
            and devices.
        vmm: Python file with a VMM policy of one's own, see `topbit.vmm.own_policy`.
        note: is told what a person at the keyboard must know, such as what is being fetched
            (machine "qemu").
        progress: is told what the guest is doing, four times a second (machine "qemu").
        fetched: is told how far a download is: what it is, bytes that came, bytes in all
            (machine "qemu").
        output: is told what the guest's `command` writes, as it is and as it comes
            (machine "qemu").
        options: of machine "qemu" only, see `topbit.machine.qemu.options.QemuOptions`: `kernel`,
            `modules`, `flavour`, `append`, `cpus`, `cpu`, `command`, `initrd`, `rootfs`,
            `rootfs_write`, `timeout` (seconds), `console`, `log`, `gdb`.

    Returns:
        The recording, also of a guest that did not come to the end of its work; then
        `recording.platform.unfinished` says why, and no report on it is `ok`.

    Raises:
        ScenarioError: the scenario or a setting contradicts itself or is unknown.
        UsageError: the machine cannot be this platform, or an option that it does not take.
        InputError: a file cannot be read.
        RunError: the run cannot be made: QEMU or a kernel is missing and cannot be fetched.
        RunInterrupted: Ctrl-C ended a run on QEMU; it has the recording until then.

    >>> import topbit
    >>> recording = topbit.run("seed", settings={"vmm.smmu_map": "protected"})
    >>> recording.platform.ipa_bits, recording.of_kind("smmu_event").height
    (41, 16)
    """
    from topbit.machine.qemu.options import refuse, require_known
    from topbit.scenario import change, find

    if machine not in MACHINES:
        raise UsageError(f"no machine is called {machine!r}", hint=nearest(machine, MACHINES))
    require_known(options)
    if machine == "model":
        refuse(options)
    wanted = change(find(scenario), settings)
    if vmm is not None:
        import dataclasses
        from pathlib import Path

        from topbit.vmm.own_policy import load

        wanted = dataclasses.replace(wanted, vmm=load(Path(vmm), wanted.vmm))
    if machine == "model":
        from topbit.machine.model.machine import ModelMachine

        return ModelMachine(wanted).run()
    from topbit.store import tools

    tools.look_ahead("qemu")  # while that is loaded which will ask for it
    from topbit.machine.interrupted import RunInterrupted
    from topbit.machine.qemu.ending import INTERRUPTED
    from topbit.machine.qemu.run import run as run_on_qemu
    from topbit.report import ahead

    outcome = run_on_qemu(
        wanted,
        options,
        note=note,
        progress=progress,
        fetched=fetched,
        output=output,
        started=ahead.make_ready,
    )
    if outcome.ending == INTERRUPTED:
        raise RunInterrupted(outcome.recording)
    return outcome.recording


def read(
    paths: StrPath | Iterable[StrPath] = (),
    *,
    progress: Callable[[int], None] = _nobody,
    **options: Unpack[ReadOptions],
) -> list[Recording]:
    """Which recordings do the files of one run make: one for each boot, the last boot last?

    Args:
        paths: a file, a folder, or several: ftrace text, trace.dat, kernel and console logs, SMMU
            event queues (also .xz, .gz, .zst); or one stored recording (.parquet).
        progress: is told how many more lines were read, now and then.
        options: what is known besides, see `topbit.readers.options.ReadOptions`: `ipa_bits`,
            `c_bit`, `trusted`, `viommu`, `streams`, and files whose owner is known: `guest`,
            `host`, `vmm`, `firmware`.

    Raises:
        InputError: a file is missing, damaged, or tells nothing.
        UsageError: an option is out of its range or contradicts a recording.

    >>> import topbit
    >>> [recording] = topbit.read("tests/data/recordings/realm-6.18-ok")
    >>> recording.platform.kernel
    '6.18.15+deb13-cloud-arm64'
    """
    from topbit.readers.read import read as read_files

    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    return read_files(paths, progress=progress, **options)


@overload
def check(checked: Recording | Iterable[Recording]) -> Report: ...
@overload
def check(
    checked: StrPath | Iterable[StrPath] = (),
    *,
    progress: Callable[[int], None] = _nobody,
    **options: Unpack[ReadOptions],
) -> Report: ...
def check(
    checked: Recording | StrPath | Iterable[Recording | StrPath] = (),
    *,
    progress: Callable[[int], None] = _nobody,
    **options: Unpack[ReadOptions],
) -> Report:
    """Did every agent keep the convention, and if not, who broke which rule?

    Args:
        checked: a recording, recordings of the boots of one run, or files as for `read`.
        progress, options: as for `read`; of files only.

    Raises:
        InputError, UsageError: see `read`; also if there is nothing to check.

    >>> import topbit
    >>> report = topbit.check("tests/data/recordings/vmm-maps-protected-half")
    >>> report.verdict
    <Verdict.VIOLATION: 'violation'>
    >>> finding = report.findings[0]
    >>> finding.rule, finding.agent, finding.message
    ('F1', 'vmm', 'the VMM did not map the unprotected alias')
    """
    from topbit.recording import Recording
    from topbit.report.report import Report

    given = [checked] if isinstance(checked, str | os.PathLike | Recording) else list(checked)
    recordings = [one for one in given if isinstance(one, Recording)]
    paths = [one for one in given if not isinstance(one, Recording)]
    if (paths and recordings) or not (given or options):
        raise UsageError("give recordings or files", where="check")
    if recordings and options:
        raise UsageError("a recording has its own facts", where=next(iter(options)))
    if not recordings:
        recordings = read(paths, progress=progress, **options)
    return Report.of(*recordings)


def explain(address: int, ipa_bits: int) -> Meaning:
    """What does an address mean to each agent of a Realm?

    Args:
        address: an IPA, dma_addr_t or IOVA, 64 bits.
        ipa_bits: width of the Realm's IPA space, 32 to 52; the shared bit is bit ipa_bits-1.

    Raises:
        UsageError: `address` or `ipa_bits` is out of range.

    >>> import topbit
    >>> meaning = topbit.explain(0x100433ce000, ipa_bits=41)
    >>> meaning.half, hex(meaning.canonical)
    ('unprotected', '0x433ce000')
    """
    from topbit.addressing.explain import explain as explain_address

    return explain_address(address, ipa_bits)


def table(
    kernel: str = "7.3",
    *,
    against: str | None = None,
    ipa_bits: int = 41,
    schemes: Iterable[str] = (),
) -> DmaTable:
    """Which address is a device given, for each platform, device and kind of memory?

    Each row is a run of the modelled kernel's DMA layer. `print(topbit.table())` shows it.

    Args:
        kernel: a release ("6.14.2", "7.3", "7.4") or a proposal ("proposed:zero-based-iova").
        against: another one; then the table shows what the two do differently.
        ipa_bits: width of a Realm's IPA space, 32 to 52.
        schemes: which platforms ("arm-cca", "amd-sev-snp", ...); none: all.

    Raises:
        UsageError: no such kernel, width or platform.

    >>> import topbit
    >>> row = topbit.table("7.3", schemes=["arm-cca"]).rows[0]
    >>> row.who.value, row.what.value, row.outcome.formula, hex(row.outcome.address)
    ('T=0', 'buffer', 'B|S', '0x10080100000')
    """
    from topbit.report.dma_table import DmaTable

    return DmaTable.of(kernel, against, ipa_bits, schemes)


def observe(
    kernel: StrPath = "7.3",
    *,
    ipa_bits: Sequence[int] = (41, 42, 48, 52),
    note: Callable[[str], None] = _nobody,
    progress: Callable[[str], None] = _nobody,
    fetched: Callable[[str, int, int], None] = _nobody_fetches,
    modules: StrPath | None = None,
    flavour: str = "cloud",
    timeout: float | None = None,
) -> ObservedTable:
    """Does a real kernel give devices the addresses that the table says?

    It boots as a Realm on the QEMU machine, once for each width, and is asked for every row that
    such a run can show. `print(topbit.observe("7.3"))` shows what came of it.

    Args:
        kernel: a series of Debian's kernels ("7.3"), a release, or the path of an Image.
        ipa_bits: widths of the Realm's IPA space, 41 to 52.
        note, progress, fetched: as `run`.
        modules, flavour, timeout: as `run`, of machine "qemu".

    Raises:
        UsageError: no such width, or the kernel is too old to be a Realm.
        InputError: a file cannot be read, or the kernel has no modules.
        RunError: a run cannot be made.
    """
    from topbit.machine.qemu import observe as machine
    from topbit.report.dma_asks import asked, questions
    from topbit.report.dma_observed import compared
    from topbit.report.dma_observed_table import ObservedTable

    wanted: QemuOptions = {"kernel": kernel, "flavour": flavour}
    if modules is not None:
        wanted["modules"] = modules
    if timeout is not None:
        wanted["timeout"] = timeout
    chosen = machine.kernel_for(wanted, note, fetched)
    boots = []
    for bits, rows in [(bits, asked(chosen.release, bits)) for bits in ipa_bits]:
        seen = machine.observe(
            chosen, bits, questions(rows), wanted, note=note, progress=progress, fetched=fetched
        )
        boots.append(compared(rows, seen))
    return ObservedTable(chosen.release, tuple(boots))


def check_kernel(
    subject: StrPath,
    *,
    tree: StrPath | None = None,
    note: Callable[[str], None] = _nobody,
    fetched: Callable[[str, int, int], None] = lambda what, came, size: None,
) -> KernelCheck:
    """Does a kernel source tree, or a patch to one, keep the convention for DMA addresses?

    The tree's own address helpers are compiled and run on this machine, and compared with the
    model. The tree is not changed.

    Args:
        subject: a source tree; a series ("7.3") of Debian's source packages, fetched if need be; or
            a file with a patch, a mail or an mbox, "-" for standard input.
        tree: what a patch is for: a tree or a series.
        note, fetched: are told what is being fetched, and how far that is.

    Raises:
        UsageError: a patch without a tree.
        InputError: no kernel source tree, helpers that do not compile, a patch that does not apply.
        RunError: a compiler is missing, or the sources cannot be fetched.
    """
    import sys
    from pathlib import Path

    from topbit.kernel_tree.judge import judge
    from topbit.kernel_tree.patch import patched
    from topbit.kernel_tree.tree import SourceTree
    from topbit.report.kernel_check import KernelCheck
    from topbit.store import sources

    def found(given: StrPath) -> SourceTree:
        name = os.fspath(given)
        if sources.is_series(name) and not Path(name).exists():
            return SourceTree(sources.fetch(name, note, fetched))
        return SourceTree(Path(name))

    name = os.fspath(subject)
    if name != "-" and not Path(name).is_file():
        whole = found(name)
        return KernelCheck(str(whole.root), judge(whole))
    if tree is None:
        raise UsageError(
            "a patch is judged on a tree", where=name, hint="name it with --tree, e.g. --tree 7.3"
        )
    data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    base = found(tree)
    with patched(base, data, "standard input" if name == "-" else name) as changed:
        return KernelCheck(f"{name} on {base.root}", judge(changed), judge(base))


def matrix(*, settings: Settings = (), conventions: Sequence[str] = ()) -> Matrix:
    """What does each kind of device reach, with guests before and after the series and each VMM?

    Runs all of them on the model machine, in some seconds. `print(topbit.matrix())` shows them.

    Args:
        settings: what to change in each run, as for `run`.
        conventions: names of VMMs ("kvmtool", "qemu-nvidia", see `topbit.vmm.conventions`) instead
            of what VMMs can do; then EDK2 is a guest as well.

    Raises:
        ScenarioError: see `run`.
        UsageError: no such convention.

    >>> import topbit
    >>> row = topbit.matrix().rows[6]
    >>> row.head, row.cells["assigned, untrusted"].reached
    (('6.15', 'protected', 'yes'), 'F_TRANSLATION')
    """
    from topbit.report.matrix import Matrix, Row
    from topbit.rules import check as check_rules
    from topbit.scenario import change
    from topbit.scenario.builtin import matrix as scenarios

    def row(scenario: Scenario) -> Row:
        recording = run(scenario)
        return Row.of(scenario, recording, check_rules(recording))

    changed = [change(scenario, settings) for scenario in scenarios(conventions)]
    return Matrix(tuple(map(row, changed)))


def scenarios() -> list[Scenario]:
    """Which scenarios does topbit bring along? In the order of their story, `seed` first.

    >>> import topbit
    >>> [scenario.name for scenario in topbit.scenarios()][:2]
    ['seed', 'guest-before-fix']
    """
    from topbit.scenario import builtin, builtin_names

    return [builtin(name) for name in builtin_names()]
