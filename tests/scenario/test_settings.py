"""Which settings a scenario tells, and which of them are unusual."""

import pytest

from topbit.scenario import builtin, change
from topbit.scenario.settings import settings, unusual


def test_every_setting_that_has_a_value_is_told() -> None:
    told = settings(builtin("seed"))
    assert told["realm.ipa_bits"] == "41"
    assert told["vmm.invalidate"] == "True"
    assert told["vmm.smmu_map"] == "alias"
    assert told["host.reads_events"] == "True"
    assert told["workload.rebinds"] == "1"
    assert not {"realm.told_ipa_bits", "guest.alias_for_shared"} & set(told)  # None
    assert "host.disable_stream" not in told  # empty
    assert not any(key.startswith("device") for key in told)


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("vmm.smmu_map=alias", []),
        ("vmm.smmu_map=both", ["vmm.smmu_map"]),
        ("vmm.invalidate=false", ["vmm.invalidate"]),
        ("realm.told_ipa_bits=41", ["realm.told_ipa_bits"]),
        ("host.disable_stream=nvme0", ["host.disable_stream"]),
    ],
)
def test_what_differs_from_the_default_is_unusual(setting: str, named: list[str]) -> None:
    assert unusual(settings(change(builtin("seed"), setting))) == named


def test_what_no_scenario_has_is_unusual() -> None:
    assert unusual({"cpu": "max", "realm.ipa_bits": "41"}) == ["cpu"]
