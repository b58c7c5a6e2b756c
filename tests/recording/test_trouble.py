"""The names that trouble has."""

from __future__ import annotations

import re

from topbit.events import AGENTS
from topbit.recording.schema import KINDS
from topbit.recording.trouble import TROUBLE_KINDS, TROUBLES


def test_each_kind_of_trouble_says_what_it_tells() -> None:
    for name, trouble in TROUBLES.items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
        assert trouble.tells.endswith(".")
        assert trouble.matter_of in AGENTS


def test_trouble_is_made_of_kinds_that_the_table_has() -> None:
    assert set(TROUBLE_KINDS) <= set(KINDS)
