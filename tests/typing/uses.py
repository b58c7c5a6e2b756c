"""A program that uses the API as a test of a VMM or a notebook does: its types must be right."""

from pathlib import Path
from typing import assert_type

import polars

import topbit

recording = topbit.run("seed", settings={"vmm.smmu_map": "both", "realm.ipa_bits": 44})
assert_type(recording, topbit.Recording)
assert_type(recording.frame, polars.DataFrame)
assert_type(recording.platform, topbit.Platform)
topbit.run(Path("mine.toml"), settings=["nvme0.trusted=true"])
topbit.run(topbit.Scenario("mine"))
topbit.run("seed", machine="qemu", kernel="7.3", timeout=None, gdb=True, note=print)

report = topbit.check(recording)
assert_type(report, topbit.Report)
assert_type(report.verdict, topbit.Verdict)
assert_type(report.findings, list[topbit.Finding])
assert_type(report.ok, bool)
assert_type(report.exit_status, int)
assert_type(report.render("json"), str)
assert_type(report.findings[0].device, str | None)

assert_type(topbit.read(["trace.txt", Path("console.log")]), list[topbit.Recording])
topbit.check(topbit.read("trace.txt"))
topbit.check("trace.txt", ipa_bits=41, progress=print)
topbit.check(Path(name) for name in ("trace.txt", "console.log"))

meaning = topbit.explain(0x100433CE000, ipa_bits=41)
assert_type(meaning, topbit.Meaning)
assert_type(topbit.matrix(), topbit.Matrix)
assert_type(topbit.scenarios(), list[topbit.Scenario])

try:
    topbit.run("sede")
except topbit.ScenarioError as error:
    assert_type(error.what, str)
except (topbit.RunError, topbit.InputError) as error:
    assert_type(error.exit_status, int)
except topbit.RunInterrupted as stop:
    assert_type(stop.recording, topbit.Recording)
