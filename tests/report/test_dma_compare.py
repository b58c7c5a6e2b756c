"""Which rows are told together, and what changed between two kernels?"""

from topbit.machine.model.dma_table import What, Who
from topbit.report.dma_table import DmaTable

ALL = (Who.UNTRUSTED, Who.TRUSTED, Who.NARROW)


def table(kernel: str, against: str | None = None, *schemes: str) -> DmaTable:
    return DmaTable.of(kernel, against, 41, schemes)


def test_platforms_that_are_alike_are_told_once() -> None:
    assert [section.schemes for section in table("7.3").sections()] == [
        ("arm-cca",),
        ("arm-pkvm", "power-svm"),
        ("amd-sme",),
        ("amd-sev", "amd-sev-es", "amd-sev-snp", "snp-vtom", "intel-tdx", "hyperv", "s390-pv"),
        ("sev-tio",),
        ("none",),
    ]


def test_devices_that_are_alike_are_told_once() -> None:
    (section,) = table("7.3", None, "intel-tdx").sections()
    assert [(line.who, line.outcome.formula) for line in section.lines[:2]] == [
        (ALL, "B"),
        ((Who.IOMMU,), "IOVA"),
    ]


def test_what_changed() -> None:
    changed = table("7.3", "7.2", "arm-cca", "amd-sev", "intel-tdx")
    cca, x86 = changed.changes()
    assert (cca[0], x86[0]) == (("arm-cca",), ("amd-sev", "intel-tdx"))
    mmio = [change for change in cca[1] if change.what is What.MMIO_SHARED]
    assert [(c.who, c.before and c.before.formula, c.after and c.after.formula) for c in mmio] == [
        ((Who.UNTRUSTED, Who.TRUSTED), "P", "P|S"),
        ((Who.NARROW,), "P", ""),
    ]
    assert [d.name for d in changed.differences()][:2] == ["capable_by_attrs", "guest_mem_encrypt"]


def test_a_request_that_one_kernel_does_not_know() -> None:
    ((_, changes),) = table("7.2", "7.1", "none").changes()
    assert [(c.what, c.before) for c in changes if c.what is What.NO_BOUNCE] == [
        (What.NO_BOUNCE, None),
        (What.NO_BOUNCE, None),
    ]
    assert table("7.1", "7.2", "none").changes()[0][1][0].after is None


def test_kernels_without_a_difference() -> None:
    assert table("7.3.1", "7.3", "arm-cca").changes() == []
