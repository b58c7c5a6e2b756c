"""A VMM policy of one's own: what it decides, on the model machine, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

import topbit
from topbit.arch.ipa import DmaAddr, Iova, Ipa
from topbit.errors import InputError, RunError, TopbitError
from topbit.vmm.own_policy import load
from topbit.vmm.policy import Masking, SmmuMap, VmmPolicy

HEAD = "from topbit.vmm.policy import VmmPolicy\n\nclass Mine(VmmPolicy):\n"
PLAIN, ALIAS = Iova(0x4000_0000), Iova(0x100_4000_0000)


def written(tmp_path: Path, body: str, head: str = HEAD) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(head + body)
    return path


# The named conventions, written as one's own.
OWN = {
    "vmm.smmu_map=protected": "    def iovas(self, plain, alias): return [plain]\n",
    "vmm.smmu_map=none": "    def iovas(self, plain, alias): return ()\n",
    "vmm.shared_bit=keep": "    def looked_up(self, address, masked): return address\n",
    "vmm.smmu_map=both": "    def iovas(self, plain, alias): yield from (plain, alias)\n",
}


@pytest.mark.parametrize("setting", OWN)
def test_own_and_named_conventions_come_to_the_same(setting: str, tmp_path: Path) -> None:
    own = topbit.run("seed", vmm=written(tmp_path, OWN[setting]))
    named = topbit.run("seed", settings=[setting])
    assert own.frame.drop("time").equals(named.frame.drop("time"))


def test_one_that_unmaps_after_the_conversion_cannot_refuse_it_any_more(tmp_path: Path) -> None:
    late = written(tmp_path, "    vfio_first = False\n")
    run = topbit.run("seed", vmm=late)
    assert topbit.check(run).ok
    kinds = run.of_kind("convert", "iommu_map", "iommu_unmap")["event"].to_list()
    assert kinds[kinds.index("convert") :][:2] == ["convert", "iommu_map"]
    assert kinds[-2:] == ["convert", "iommu_unmap"]
    run = topbit.run("seed", settings=["vmm.map_fault=unmap"], vmm=late)
    assert {"V3", "V7"} <= {finding.rule for finding in topbit.check(run).findings}


def test_one_that_goes_on_leaves_a_private_page_mapped(tmp_path: Path) -> None:
    goes_on = written(tmp_path, "    def goes_on(self, failed): return failed == 'unmap'\n")
    run = topbit.run("seed", settings=["vmm.map_fault=unmap"], vmm=goes_on)
    assert "V3" in {finding.rule for finding in topbit.check(run).findings}


def test_what_it_leaves_out_is_as_the_scenario_says(tmp_path: Path) -> None:
    path = written(tmp_path, "    def iovas(self, plain, alias): return [alias, plain]\n")
    policy = load(path, VmmPolicy(masking=Masking.REQUIRE, fail_closed=False))
    assert list(policy.iovas(PLAIN, ALIAS)) == [ALIAS, PLAIN]
    assert policy.looked_up(DmaAddr(5), Ipa(5)) is None
    assert policy.goes_on("map")
    assert policy.vfio_first


@pytest.mark.parametrize(
    ("mapped", "iovas"),
    [
        (SmmuMap.ALIAS, [ALIAS]),
        (SmmuMap.PROTECTED, [PLAIN]),
        (SmmuMap.BOTH, [PLAIN, ALIAS]),
        (SmmuMap.NONE, []),
    ],
)
def test_where_the_named_ones_map(mapped: SmmuMap, iovas: list[Iova]) -> None:
    assert VmmPolicy(smmu_map=mapped).iovas(PLAIN, ALIAS) == iovas


@pytest.mark.parametrize(
    ("masking", "plain", "alias"),
    [
        (Masking.MASK, PLAIN, PLAIN),
        (Masking.KEEP, PLAIN, ALIAS),
        (Masking.REQUIRE, None, PLAIN),
    ],
)
def test_what_the_named_ones_look_up(
    masking: Masking, plain: int | None, alias: int | None
) -> None:
    policy = VmmPolicy(masking=masking)
    assert policy.looked_up(DmaAddr(PLAIN), Ipa(PLAIN)) == plain
    assert policy.looked_up(DmaAddr(ALIAS), Ipa(PLAIN)) == alias


@pytest.mark.parametrize(
    ("head", "body", "error", "words"),
    [
        (
            HEAD,
            "    def iovas(self, plain, alias): return [1]\n",
            RunError,
            "not addresses",
        ),
        (HEAD, "    def iovas(self, plain, alias): return ['x']\n", RunError, "answered 'x'"),
        (HEAD, "    def iovas(self, plain, alias): return [-4096]\n", RunError, "-4096"),
        (
            HEAD,
            "    def iovas(self, plain, alias):\n        return 1 // 0\n",
            RunError,
            "Mine.iovas failed: ZeroDivisionError: integer division or modulo by zero (line 5)",
        ),
        (HEAD, "    def looked_up(self, address, masked): return 'x'\n", RunError, "looked_up"),
        ("", "x = (\n", InputError, "cannot be run: SyntaxError"),
        ("", "import topbit\n1 / 0\n", InputError, "ZeroDivisionError: division by zero (line 2)"),
        ("", "x = 1\n", InputError, "holds 0 classes on VmmPolicy"),
        (HEAD + "    pass\n", "class Two(VmmPolicy): pass\n", InputError, "holds 2 classes"),
    ],
)
def test_a_mistake_in_it_is_named(
    head: str, body: str, error: type[TopbitError], words: str, tmp_path: Path
) -> None:
    path = written(tmp_path, body, head)
    with pytest.raises(error) as raised:
        topbit.run("seed", vmm=path)
    assert words in str(raised.value)
    assert f"--vmm {path}" in str(raised.value)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match=r"--vmm /nonexistent\.py: cannot be read"):
        topbit.run("seed", vmm="/nonexistent.py")
