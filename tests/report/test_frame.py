"""How a notebook shows a page."""

from __future__ import annotations

import html

import pytest

import topbit
from paths import DATA
from topbit.report.frame import framed
from topbit.report.html_form import render, render_matrix


def page_in(element: str, title: str) -> str:
    """Which page does the element show?"""
    head, _, rest = element.partition(' srcdoc="')
    assert head == f'<iframe title="{title}"'
    assert rest.endswith('"></iframe>')
    return html.unescape(rest.partition('"')[0])


@pytest.mark.parametrize("page", ['<head>"&amp;</iframe></head>', "<p>"])
def test_the_page_is_shown_as_it_is_with_its_own_base(page: str) -> None:
    expected = page.replace("<head>", '<head><base href="about:srcdoc">')
    assert page_in(framed(page, "x"), "x") == expected


def test_a_report_and_a_matrix_show_themselves_as_their_pages() -> None:
    matrix, report = topbit.matrix(), topbit.check(DATA / "recordings" / "wide-ipa-7.3")
    for shown, title, page in (
        (report, "topbit report", render(report.boots)),
        (matrix, "topbit matrix", render_matrix(matrix)),
    ):
        assert shown._repr_html_() == framed(page, title)
