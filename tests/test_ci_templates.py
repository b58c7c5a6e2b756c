"""What other projects' CI runs: the GitHub Action and the GitLab job, with a stand-in for pip."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

import needs
from paths import DATA, ROOT

ACTION = ROOT / ".github" / "actions" / "check"
GITLAB = ROOT / ".gitlab" / "ci" / "topbit-check.yml"
BAD = DATA / "recordings" / "vmm-maps-protected-half"
PYTHON = f"""#!/bin/sh
# python -m venv DIR: its pip installs nothing, its topbit is this one.
[ "$1" = -m ] || exit 9
mkdir -p "$3/bin"
printf '#!/bin/sh\\necho "$@" >>"$0.log"\\n' >"$3/bin/pip"
printf '#!/bin/sh\\nexec {sys.executable} -m topbit "$@"\\n' >"$3/bin/topbit"
chmod +x "$3/bin/pip" "$3/bin/topbit"
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    python = tmp_path / "bin" / "python3"
    python.parent.mkdir()
    python.write_text(PYTHON)
    python.chmod(0o755)
    return {**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}"}


@pytest.mark.parametrize(
    ("files", "arguments", "status", "rules"),
    [
        (f"{BAD}/*\n", "--ipa-bits 41", 1, {"F1"}),
        (f"{DATA}/recordings/realm-6.18-ok\n\n", "--ipa-bits 41", 0, set()),
        ("no such file.txt\n", "", 2, set()),
        ("$(touch hacked)\n; touch hacked\n", "", 2, set()),
    ],
)
def test_the_action_checks_and_leaves_sarif(
    files: str,
    arguments: str,
    status: int,
    rules: set[str],
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    out, output = tmp_path / "out", tmp_path / "github-output"
    done = subprocess.run(
        ["bash", ACTION / "check.sh"],
        cwd=tmp_path,
        env={
            **environment, "FILES": files, "ARGUMENTS": arguments, "PYTHON": "python3",
            "SOURCE": str(ROOT), "OUT": str(out), "GITHUB_OUTPUT": str(output),
        },
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    assert output.read_text() == f"sarif={out}/topbit.sarif\n"
    (run,) = json.loads((out / "topbit.sarif").read_text())["runs"]
    assert {result["ruleId"] for result in run["results"]} == rules
    assert (out / "topbit.html").read_text().startswith("<!doctype html>")
    assert not (tmp_path / "hacked").exists()
    assert str(ROOT) in (out.with_name("out.venv") / "bin" / "pip.log").read_text()


def test_the_action_gives_the_script_all_that_it_takes() -> None:
    action = yaml.safe_load((ACTION / "action.yml").read_text())
    (step,) = [step for step in action["runs"]["steps"] if step.get("id") == "check"]
    script = (ACTION / "check.sh").read_text()
    used = set(re.findall(r"\$\{?([A-Z_]+)", script)) - {"GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"}
    assert used == set(step["env"])
    inputs = {
        name for value in step["env"].values() for name in re.findall(r"inputs\.(\w+)", value)
    }
    assert inputs == set(action["inputs"])
    assert "${{" not in step["run"]


@pytest.mark.parametrize(
    ("file", "schema"),
    [(ACTION / "action.yml", "github-actions"), (GITLAB, "gitlab-ci")],
    ids=["action", "job"],
)
def test_the_files_are_what_their_makers_schemas_allow(file: Path, schema: str) -> None:
    allowed = json.loads(needs.oracle(f"ci-*/{schema}.json").read_text(encoding="utf-8"))
    kind = jsonschema.validators.validator_for(allowed)
    written = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert [error.message for error in kind(allowed).iter_errors(written)] == []
    # It does tell: a key that is none.
    broken = {**written, "runs": {**written.get("runs", {}), "usng": 1}, "x": {"scrpt": []}}
    assert not kind(allowed).is_valid(broken)


def test_the_documents_use_them_as_they_are() -> None:
    page = (ROOT / "docs" / "howto-ci.md").read_text(encoding="utf-8")
    action, job = (yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", page, re.S))
    (step,) = action["steps"]
    assert step["uses"].partition("@")[0].endswith("/.github/actions/check")
    inputs = yaml.safe_load((ACTION / "action.yml").read_text())["inputs"]
    assert set(step["with"]) <= set(inputs)
    assert {name for name, told in inputs.items() if told.get("required")} <= set(step["with"])
    assert job["include"][0]["file"] == str(GITLAB.relative_to(ROOT))
    variables = yaml.safe_load(GITLAB.read_text())["topbit-check"]["variables"]
    assert set(job["topbit-check"]["variables"]) <= set(variables)


def test_the_gitlab_job_checks_and_leaves_junit(
    environment: dict[str, str], tmp_path: Path
) -> None:
    job = yaml.safe_load(GITLAB.read_text())["topbit-check"]
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(job["script"])],
        cwd=tmp_path,
        env={
            **environment,
            **job["variables"],
            "TOPBIT_FILES": str(BAD),
            "TOPBIT_ARGUMENTS": "--ipa-bits 41",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "VIOLATION F1" in done.stdout
    assert 'type="F1"' in (tmp_path / job["artifacts"]["reports"]["junit"]).read_text()
