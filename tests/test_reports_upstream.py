"""The mails about found faults have a mail's form, and each such fault has one."""

import re
from email.parser import Parser

import pytest

from paths import ROOT

FOLDER = ROOT / "docs" / "reports"
MAILS = sorted(path.name for path in FOLDER.glob("*.txt"))
SECTIONS = [
    "What happens",
    "Which releases",
    "How to see it",
    "Cause",
    "Suggested mend",
]


def test_each_fault_without_a_report_has_a_mail() -> None:
    faults = (ROOT / "docs" / "found-faults.md").read_text(encoding="utf-8").split("\n## ")[1:]
    unreported = [fault for fault in faults if re.search("no report .*was found", fault, re.I)]
    linked = [re.findall(r"\]\(reports/(.+?\.txt)\)", fault) for fault in unreported]
    assert all(len(mails) == 1 for mails in linked), linked
    assert sorted(mail for mails in linked for mail in mails) == MAILS
    shown = (FOLDER / "index.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"\{literalinclude\} (.+)", shown)) == MAILS
    titles = [fault.partition("\n")[0] for fault in unreported]
    assert re.findall(r"^## (.+)", shown, re.M) == titles


@pytest.mark.parametrize("name", MAILS)
def test_a_mail_has_the_form_of_the_kernels_lists(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="ascii")
    assert [line for line in text.splitlines() if len(line) > 72 or line != line.rstrip()] == []
    mail = Parser().parsestr(text)
    assert mail.keys() == ["To", "Cc", "Subject"]
    assert re.match(r"\[(BUG|REGRESSION)\] \S+: \S", mail["Subject"])
    assert "linux-kernel" in mail["Cc"]
    # Lists by name: people, and addresses, are for who sends it (get_maintainer.pl).
    assert "@" not in mail["To"] + mail["Cc"]
    assert re.findall(r"^(\w.+)\n-+$", mail.get_payload(), re.M) == SECTIONS
