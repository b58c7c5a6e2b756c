"""How is what is known of the platform told?"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from topbit.recording import FileFacts, Platform, Unparsed
from topbit.report.platform_lines import platform_lines, unread_lines

MIB = 1 << 20


def lines(**facts: object) -> list[str]:
    platform = dataclasses.replace(Platform(), **facts)  # type: ignore[arg-type]
    return [*platform_lines(platform), *unread_lines(platform)]


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        ({}, "guest    unknown kernel, not known whether a Realm"),
        ({"kernel": "6.18", "realm": True}, "guest    Linux 6.18, a Realm"),
        ({"realm": False}, "guest    unknown kernel, no Realm"),
        ({"scheme": "amd-sev", "realm": False}, "guest    unknown kernel, scheme amd-sev"),
        ({"ipa_bits": 41}, "IPA      41 bits: bit 40, the shared bit"),
        ({"ipa_bits": 41, "origins": {"ipa_bits": "option"}},
         "IPA      41 bits (--ipa-bits): bit 40, the shared bit"),
        ({"ipa_bits": 48, "origins": {"ipa_bits": "scenario"}},
         "IPA      48 bits (scenario): bit 47, the shared bit"),
        ({"realm": True}, "IPA      width unknown (--ipa-bits N tells it)"),
        ({"ram": [(0x4000_0000, 1 << 30)]},
         "RAM      0x0000000040000000-0x000000007fffffff, 1 GiB"),
        ({"pools": [(0, 64 * MIB)]}, "swiotlb  0x0000000000000000-0x0000000003ffffff, 64 MiB"),
        ({"pools": [(0, 1025 << 10)]}, "swiotlb  0x0000000000000000-0x00000000001003ff, 1025 KiB"),
        ({"pools": [(0, 1 << 10)]}, "swiotlb  0x0000000000000000-0x00000000000003ff, 1 KiB"),
        ({"pools": [(0, 1000)]}, "swiotlb  0x0000000000000000-0x00000000000003e7, 1000 bytes"),
        ({"kernel": "6.18", "realm": True, "origins": {"kernel": "a/log:1", "realm": "option"}},
         "guest    Linux 6.18 (a/log:1), a Realm (an option)"),
        ({"kernel": "6.18", "realm": True, "origins": {"kernel": "a/log:1"},
          "files": [FileFacts("a/log"), FileFacts("a/trace")]},
         "guest    Linux 6.18 (log:1), a Realm"),
        ({"kernel": "6.18", "realm": True, "origins": {"kernel": "a/t.dat", "realm": "a/log2:1"},
          "files": [FileFacts("a/t.dat"), FileFacts("a/log")]},
         "guest    Linux 6.18 (t.dat), a Realm (a/log2:1)"),
        ({"kernel": "6.18", "realm": True, "origins": {"kernel": "a/log:1"},
          "files": [FileFacts("a/log"), FileFacts("b/log")]},
         "guest    Linux 6.18 (a/log:1), a Realm"),
        ({"scheme": "amd-sev", "realm": False, "origins": {"scheme": "log:3", "realm": "log:2"}},
         "guest    unknown kernel, scheme amd-sev (log:3)"),
        ({"ipa_bits": 41, "origins": {"ipa_bits": "inferred: all have bit 40"}},
         "IPA      41 bits (inferred: all have bit 40): bit 40, the shared bit"),
        ({"c_bit": 51, "origins": {"c_bit": "option"}}, "C bit    bit 51 (--c-bit)"),
        ({"ram": [(0, 1 << 30)], "origins": {"ram": "log:9", "pools": "log:7"}},
         "RAM      0x0000000000000000-0x000000003fffffff, 1 GiB (log:9)"),
        ({"pools": [(0, 1 << 20)], "origins": {"ram": "log:9", "pools": "log:7"}},
         "swiotlb  0x0000000000000000-0x00000000000fffff, 1 MiB (log:7)"),
        # All of a run's facts come from its scenario.
        ({"kernel": "6.15", "realm": True, "origins": {"kernel": "scenario", "realm": "scenario"}},
         "guest    Linux 6.15, a Realm"),
        ({"kernel": "6.18", "realm": False, "origins": {"kernel": "log:1"},
          "files": [FileFacts("trace", role="guest"), FileFacts("log", role="host")]},
         "host     Linux 6.18 (log:1), no Realm"),
        ({"kernel": "6.18", "realm": True, "origins": {"kernel": "log:1"},
          "files": [FileFacts("log"), FileFacts("dmesg", role="host")]},
         "guest    Linux 6.18 (log:1), a Realm"),
        ({"unfinished": "the guest is stuck"}, "ended    the guest is stuck"),
        ({"notes": ["first", "second"]}, "note     second"),
        ({"policies": {"vmm.smmu_map": "both", "other": "x"}, "changed": ["other"]},
         "settings other=x"),
        ({"unparsed": [Unparsed("trace", 2, 7, "text")]},
         "unparsed 2 lines of trace look like events and could not be read, the first at line 7: "
         "text"),
        ({"unparsed": [Unparsed("queue", 1, 0, "text")]},
         "unparsed 1 places of queue look like events and could not be read, the first: text"),
    ],
)  # fmt: skip
def test_what_is_known_of_the_platform(facts: dict[str, object], line: str) -> None:
    assert line in lines(**facts)


@pytest.mark.parametrize(
    ("facts", "start"),
    [
        ({"realm": False}, "IPA"),
        ({}, "IPA"),
        ({"policies": {"vmm.smmu_map": "alias"}, "changed": []}, "settings"),
        ({"policies": {}}, "settings"),
    ],
)
def test_what_is_not_worth_a_line(facts: dict[str, object], start: str) -> None:
    assert not [line for line in lines(**facts) if line.startswith(start)]


@pytest.mark.parametrize(
    ("roles", "facts", "machine"),
    [
        (["host"], {}, "host"),
        (["host", "unknown"], {"realm": False}, "host"),
        (["host", "guest"], {}, "guest"),
        (["host"], {"realm": True}, "guest"),  # --ipa-bits asks for a guest of it
        (["guest"], {"scheme": "amd-sme"}, "host"),
        (["unknown"], {}, "guest"),
        ([], {}, "guest"),
    ],
)
def test_a_host_is_called_none_of_its_guests(
    roles: list[str], facts: dict[str, Any], machine: str
) -> None:
    files = [FileFacts(f"log{number}", role=role) for number, role in enumerate(roles)]
    (line, *_) = platform_lines(Platform(files=files, **facts))
    assert line.startswith(f"{machine} ")


@pytest.mark.parametrize(
    ("kernel", "told"),
    [("7.3.4", "Linux 7.3.4"), ("edk2", "edk2"), ("proposed:zero-based-iova", "proposed:zero-")],
)
def test_what_is_no_linux_is_not_called_so(kernel: str, told: str) -> None:
    (line, *_) = platform_lines(Platform(kernel=kernel))
    assert line.startswith(f"guest    {told}")
