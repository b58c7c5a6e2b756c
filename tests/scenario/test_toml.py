"""Scenarios as TOML: what is taken, and how what is wrong is refused."""

import dataclasses
from pathlib import Path

import pytest

from topbit.cli import main
from topbit.errors import InputError, ScenarioError
from topbit.scenario import builtin, builtin_names, change, find, loads, override
from topbit.scenario.settings import settings, unusual
from topbit.scenario.toml import Settings, dumps, load
from topbit.vmm.conventions import policy_of
from topbit.vmm.policy import Masking, VmmPolicy


@pytest.mark.parametrize("name", builtin_names())
def test_every_builtin_survives_toml(name: str) -> None:
    assert loads(dumps(builtin(name)), "test") == builtin(name)


def test_any_text_survives_toml() -> None:
    text = 'a "quoted" \\ line\r\n\ttab, \x00\x1f\x7f\x85 and \u00e4\u2028\U0001f600'
    scenario = dataclasses.replace(builtin("seed"), summary=text)
    assert loads(dumps(scenario), "test") == scenario


def test_a_small_file_takes_defaults() -> None:
    scenario = loads('[vmm]\nsmmu_map = "both"\n[[device]]\nname = "nic0"\n', "mine.toml")
    assert scenario.name == "mine"
    assert scenario.vmm.smmu_map == "both"
    assert scenario.device[0].kind == "assigned"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[vmm]\nsmmu_mpa = 'alias'", ["mine.toml: vmm", "smmu_mpa", "did you mean 'smmu_map'"]),
        ("[vm]\n", ["unknown key 'vm'", "did you mean 'vmm'"]),
        ("[vmm]\nsmmu_map = 'aliass'", ["vmm.smmu_map", "alias, protected, both, none"]),
        ("[realm]\nipa_bits = 53", ["realm.ipa_bits", "32 to 52"]),
        ("[realm]\nipa_bits = 31", ["realm.ipa_bits", "32 to 52"]),
        ("[realm]\nipa_bits = '41'", ["is not of type int"]),
        ("[realm]\nipa_bits = true", ["is not of type int"]),
        ("[realm]\nram_mib = 2048\nipa_bits = 32", ["does not fit the protected half"]),
        (f"[realm]\nram_mib = {'9' * 5000}", ["not TOML", "digits"]),
        (f"[realm]\nram_mib = 0x{'f' * 5000}", ["realm.ram_mib", "no number of 64 bits"]),
        (f"a = {'[' * 5000}", ["not TOML", "nested too deeply"]),
        (f"{'a.' * 101}b = 1", ["has a line with more than 100 dots"]),
        (f"{'a.' * 100}b = 1", ["unknown key 'a'"]),
        (f"[realm]\nram_mib = '{'x' * 5000}'", ["'xxx", "is not of type int"]),
        ("[realm]\nram_mib = [1]", ["a list is not of type int"]),
        ("[realm]\nram_mib = 8\n[guest]\nswiotlb_mib = 7", ["guest.swiotlb_mib", "1 to 6"]),
        ("[workload]\nsize = 100", ["workload.size", "multiple of 512"]),
        ("[guest]\nkernel = 'latest'", ["no kernel release"]),
        ("[realm]\ntold_ipa_bits = 53", ["realm.told_ipa_bits", "32 to 52"]),
        ("[host]\ndestroy_page = 'all'", ["host.destroy_page", "none, private, shared"]),
        ("[host]\nevent_queue = 3", ["host.event_queue", "power of two from 1 to 1024"]),
        ("[host]\ndisable_stream = 'nvme'", ["host.disable_stream", "no assigned device"]),
        (
            "[host]\ndisable_stream = 'nvme'\n[[device]]\nname = 'nvme0'",
            ["host.disable_stream", "did you mean 'nvme0'"],
        ),
        ("[[device]]\nkind = 'assigned'", ["a device needs a name"]),
        ("[[device]]\nname='a'\n[[device]]\nname='a'", ["same name"]),
        ("\n".join(f"[[device]]\nname='d{n}'" for n in range(32)), ["32 devices", "at most 31"]),
        ("[[device]]\nname=''", ["device.name", "''", "letters"]),
        ("[[device]]\nname='a b'", ["device.name", "'a b'", "letters"]),
        ("[[device]]\nname='0000:00:01.0'", ["device.name", "letters"]),
        ('[[device]]\nname="a\\nb"', ["device.name", "letters"]),
        ("[[device]]\nname='realm'", ["device.name", "'realm' is a table"]),
        ("[[device]]\nname='a'\nhabit='stale'", ["'habit'", "it is called 'behaviour' now"]),
        ("[vmm]\nhabit = 'stale'", ["unknown key 'habit' (did you mean 'shared_bit'"]),
        ("[[device]]\nname='a'\nkind='emulated'\nbehaviour='stale'", ["device a", "behaves"]),
        ("[[device]]\nname='a'\nkind='emulated'\ntrusted=true", ["cannot be trusted"]),
        ("[device]\nname='a'", ["[[device]]"]),
        ("vmm = 3", ["is not a table"]),
        ("[vmm]\nshared_bit='up'", ["mine.toml: vmm.shared_bit", "mask, keep, require"]),
        ("[vmm]\nsmmu_map=1", ["vmm.smmu_map", "not of type str"]),
        ("[vmm]\nmasking='keep'", ["unknown key 'masking'"]),
        ("[vmm", ["not TOML"]),
    ],
)
def test_what_is_wrong_is_named_with_its_place_and_hint(text: str, words: list[str]) -> None:
    with pytest.raises(ScenarioError) as caught:
        loads(text, "mine.toml")
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_names_get_the_nearest_known_one() -> None:
    with pytest.raises(ScenarioError, match="did you mean 'seed'"):
        find("sede")


def test_missing_and_binary_files(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match="No such file"):
        find(str(tmp_path / "none.toml"))
    (tmp_path / "bad.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8"):
        find(str(tmp_path / "bad.toml"))


def test_set_changes_one_key() -> None:
    seed = builtin("seed")
    assert override(seed, "realm.ipa_bits=0x2c").realm.ipa_bits == 44
    assert override(seed, "vmm.fail_closed=false").vmm.fail_closed is False
    assert override(seed, "nvme0.trusted=true").device[0].trusted
    assert all(d.address_bits == 40 for d in override(seed, "device.address_bits=40").device)


def test_what_emulated_devices_do_with_the_shared_bit_has_its_key() -> None:
    for keeps in (
        override(builtin("seed"), "vmm.shared_bit=keep"),
        change(builtin("seed"), {"vmm.shared_bit": "keep"}),
        change(builtin("seed"), {"vmm.shared_bit": Masking.KEEP}),
        loads("[vmm]\nshared_bit = 'keep'", "mine.toml"),
    ):
        assert keeps.vmm == VmmPolicy(masking=Masking.KEEP)
        assert keeps.vmm.masking is Masking.KEEP
        assert 'shared_bit = "keep"' in dumps(keeps).splitlines()
        assert loads(dumps(keeps), "mine.toml") == keeps
        assert settings(keeps)["vmm.shared_bit"] == "keep"
    assert unusual(settings(keeps)) == ["vmm.shared_bit"]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("vmm", "TABLE.KEY=VALUE"),
        ("vmn.smmu_map=both", "did you mean 'vmm'"),
        ("vmm.smmu=both", "did you mean 'smmu_map'"),
        (
            "vmm.smmu_map=up",
            "--set vmm.smmu_map=up: 'up' is not one of alias, protected, both, none",
        ),
        ("vmm.masking=keep", "unknown key 'masking'"),
        ("vmm.fail_closed=maybe", "true or false"),
        ("realm.ipa_bits=many", "whole number"),
        ("realm.ipa_bits=99", "32 to 52"),
    ],
)
def test_bad_settings(setting: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "seed", "--set", setting]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_a_scenario_is_found_by_name_path_text_or_as_it_is(tmp_path: Path) -> None:
    seed = builtin("seed")
    path = tmp_path / "mine.toml"
    path.write_text(dumps(seed), encoding="utf-8")
    for wanted in ("seed", str(path), path, dumps(seed), seed):
        assert find(wanted) == seed
    assert find("[vmm]\nsmmu_map = 'none'\n").name == "scenario"
    with pytest.raises(ScenarioError, match="did you mean 'seed'"):
        find("sede")
    with pytest.raises(ScenarioError, match=r"^no scenario"):
        find("vmm.smmu_map='none'")  # TOML text has several lines
    with pytest.raises(InputError, match=r"none\.toml: cannot read"):
        find(tmp_path / "none.toml")


@pytest.mark.parametrize(
    "settings",
    [
        {"realm.ipa_bits": 44, "vmm.invalidate": False, "nvme0.trusted": True},
        ["realm.ipa_bits=44", "vmm.invalidate=false", "nvme0.trusted=true"],
    ],
)
def test_several_settings_are_changed(settings: Settings) -> None:
    changed = change(builtin("seed"), settings)
    assert (changed.realm.ipa_bits, changed.vmm.invalidate) == (44, False)
    assert [device.trusted for device in changed.device] == [True, True, False, False]


def test_one_setting_may_be_a_text() -> None:
    assert change(builtin("seed"), "vmm.smmu_map=both").vmm.smmu_map == "both"
    assert change(builtin("seed"), ()) == builtin("seed")


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("realm.ipa_bits", "44", "setting realm.ipa_bits: '44' is not of type int"),
        ("realm.ipa_bits", True, "is not of type int"),
        ("vmm.invalidate", 0, "is not of type bool"),
        ("realm.ipa_bits", 99, "setting realm.ipa_bits: 99 is no width"),
        ("vmm.smmu_mpa", "both", "did you mean 'smmu_map'"),
        ("vmm", "both", "TABLE.KEY=VALUE"),
    ],
)
def test_bad_values_of_settings(setting: str, value: bool | int | str, words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        change(builtin("seed"), {setting: value})


def test_ram_may_end_at_the_shared_bit() -> None:
    from topbit.machine.model.machine import ModelMachine

    scenario = loads("[realm]\nram_mib = 1024\nipa_bits = 32\n[[device]]\nname = 'n0'", "test")
    recording = ModelMachine(scenario).run()
    assert recording.platform.unfinished == ""
    assert set(recording.of_kind("access")["status"]) == {"ok"}


def test_a_scenario_file_has_a_size(tmp_path: Path) -> None:
    path = tmp_path / "many.toml"
    path.write_text("[[device]]\n" * 100_000)
    with pytest.raises(InputError, match="no file of 256 KiB at most"):
        load(path)
    with pytest.raises(InputError, match="no file of 256 KiB"):
        load(Path("/dev/null"))


def test_a_vmm_is_chosen_by_its_name_and_changed() -> None:
    text = 'name = "x"\n[vmm]\nfail_closed = true\nconvention = "qemu-rfc"\n'
    said = loads(text, "x").vmm
    assert said == dataclasses.replace(policy_of("qemu-rfc"), fail_closed=True)
    assert loads(dumps(loads(text, "x")), "x").vmm == said


@pytest.mark.parametrize("settings", [["vmm.convention=plain"], {"vmm.convention": "plain"}])
def test_a_setting_chooses_a_vmm(settings: Settings) -> None:
    scenario = change(builtin("vmm-maps-nothing"), settings)
    assert scenario.vmm == policy_of("plain")
    changed = override(scenario, "vmm.smmu_map=both").vmm
    assert (changed.convention, changed.smmu_map, changed.masking) == ("plain", "both", "keep")
    assert override(scenario, "vmm.convention=").vmm.smmu_map == "protected"


def test_a_vmm_that_nobody_has() -> None:
    with pytest.raises(ScenarioError, match="did you mean 'kvmtool'"):
        loads('name = "x"\n[vmm]\nconvention = "kvmtol"\n', "x")
    with pytest.raises(ScenarioError, match=r"--set vmm.convention=kvmtol: no VMM's convention"):
        override(builtin("seed"), "vmm.convention=kvmtol")
