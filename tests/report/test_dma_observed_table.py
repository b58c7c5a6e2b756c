"""What a kernel did, to be shown."""

import json

import pytest

from observed_boots import table


def test_as_text_it_is_the_report() -> None:
    found = table(("7.3", 41))
    assert str(found) + "\n" == found.render("text")
    assert str(found).endswith("all are as the table says.")


@pytest.mark.parametrize("form", ["text", "markdown", "json"])
def test_each_form_ends_with_a_line(form: str) -> None:
    shown = table(("7.3", 52)).render(form)
    assert shown.endswith("\n")
    assert (form == "json") == shown.startswith("{")
    if form == "json":
        assert json.loads(shown)["boots"][0]["ipa_bits"] == 52
