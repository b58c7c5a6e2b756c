"""All comes out as stated; a changed line of the code, and a lemma of nothing, do not."""

import json
import sys
from types import FunctionType

import pytest

from paths import ROOT
from topbit.addressing import dma_direct, scheme
from topbit.addressing.proofs import false, prove, true_of_dma, true_of_halves
from topbit.addressing.proofs.lemma import Lemma, Outcome, lemma
from topbit.addressing.proofs.symbolic import Path
from topbit.arch import ipa
from topbit.cli import main
from topbit.errors import MissingToolError


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return [lemma.prove() for lemma in prove.lemmas()]


def test_all_comes_out_as_stated(outcomes: list[Outcome]) -> None:
    assert [o.name for o in outcomes if not o.as_stated] == []
    assert {o.name: o.example for o in outcomes if o.example is not None}.keys() == {
        lemma.name for lemma in false.LEMMAS
    }


def test_where_the_page_table_form_goes_wrong(outcomes: list[Outcome]) -> None:
    first = {o.name: (o.example or {}).get("ipa_bits") for o in outcomes}
    assert first["page-table-encoding-4k"] == 51
    assert first["page-table-encoding-64k"] == 49


def test_the_document_shows_what_comes_out(outcomes: list[Outcome]) -> None:
    text = (ROOT / "docs/howto-table.md").read_text(encoding="utf-8")
    assert "\n".join(prove.lines(outcomes)) + "\n" in text


def test_each_lemma_names_its_kernel_counterpart(outcomes: list[Outcome]) -> None:
    for found in json.loads(prove.document(outcomes)):
        assert ":" in found["kernel"] or "archdata" in found["kernel"], found["name"]
        assert found["as_stated"] is True
        assert found["verdict"] == ("proved" if found["stated"] else "counterexample")


def changed(function: FunctionType, old: str, new: str) -> object:
    """Which code has the function with one line changed?"""
    import inspect
    import textwrap

    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(old) == 1
    made: dict[str, object] = {}
    future = "from __future__ import annotations\n"
    exec(future + source.replace(old, new), dict(function.__globals__), made)
    it = made[function.__name__]
    assert isinstance(it, FunctionType)
    return it.__code__


HALVES, DMA = true_of_halves, true_of_dma
CHANGES: list[tuple[FunctionType, str, str, Lemma]] = [
    (ipa.IpaSpace.in_par, "- size", "", HALVES.halves_disjoint),
    (ipa.IpaSpace.in_unprotected, "self.shared_bit <=", "0 <=", HALVES.halves_disjoint),
    (ipa.IpaSpace.contains, "- size", "", HALVES.halves_cover),
    (ipa.IpaSpace.alias, "^", "|", HALVES.alias_round_trip),
    (ipa.IpaSpace.protected, "~self.shared_bit", "(self.shared_bit - 1)", HALVES.alias_single_bit),
    (ipa.IpaSpace.unprotected, "|", "+", HALVES.alias_single_bit),
    (scheme.dma_addr_unencrypted, "scheme.unencrypted_mask", "0", HALVES.scheme_is_the_space),
    (scheme.dma_addr_canonical, "scheme.attribute_mask", "0", DMA.shared_round_trip),
    (scheme._clear, "x & ~mask", "x & (mask - 1)", HALVES.no_wrap_from_above),
    (scheme._subtract, "if x >= offset", "if x > offset", DMA.offset_round_trip),
    (scheme._add, "x + offset & U64", "x | 1", DMA.offset_round_trip),
    (dma_direct._lookup, "return target + (x - start)", "return x", DMA.range_order),
    (
        dma_direct._lookup,
        "start <= x < start + size",
        "start <= x <= start + size",
        DMA.range_order,
    ),
    (dma_direct._lookup, "size == 0", "size == 1", DMA.range_order),
    (dma_direct._lookup, "return U64", "return x", DMA.no_wrap_outside),
    (dma_direct.translate_dma_to_phys, "r.dma_start, r.cpu", "r.cpu_start, r.cpu", DMA.range_sides),
    (dma_direct.dma_to_phys, "if dev.", "if not dev.", DMA.bit_before_range),
    (dma_direct.phys_to_dma, "dma_addr_encrypted", "dma_addr_unencrypted", DMA.dma_single_bit),
    (dma_direct.dma_capable, "return addr + size - 1", "return addr + size", DMA.capable_bounds),
    (dma_direct.dma_limit, "if limit", "if limit > 1", DMA.capable_bounds),
]


@pytest.mark.parametrize(
    ("function", "old", "new", "broken"), CHANGES, ids=lambda x: getattr(x, "__name__", None)
)
def test_a_changed_line_breaks_a_proof(
    function: FunctionType, old: str, new: str, broken: Lemma, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(function, "__code__", changed(function, old, new))
    assert broken.prove().verdict == "COUNTEREXAMPLE"


def nothing(path: Path) -> bool:
    """All numbers below none are odd."""
    path.assume(path.unknown("x") < 0)
    return False


def too_true(path: Path) -> bool:
    """A number is a number."""
    return path.unknown("x") >= 0


@pytest.mark.parametrize(
    ("claim", "holds", "verdict"),
    [(nothing, True, "VACUOUS"), (nothing, False, "VACUOUS"), (too_true, False, "PROVED")],
)
def test_what_does_not_come_out_as_stated(
    claim: object,
    holds: bool,
    verdict: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = lemma(kernel="x.c:f", holds=holds)(claim)  # type: ignore[arg-type]
    monkeypatch.setattr(prove, "lemmas", lambda: (made,))
    assert main(["table", "--prove"]) == 1
    assert capsys.readouterr().out == f"{verdict:<15} {made.statement}\n"


def test_what_comes_out_as_stated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(prove, "lemmas", lambda: (false.plain_address,))
    assert main(["table", "--prove", "--format", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["name"], found["example"]) == ("plain-address", {"ipa_bits": 32, "paddr": 0})


@pytest.mark.parametrize(
    "words", [["--kernel", "7.2"], ["--scheme", "none"], ["--format", "markdown"]]
)
def test_proofs_are_of_everything(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", "--prove", *words]) == 2
    assert "--prove is about every kernel" in capsys.readouterr().err


def test_without_z3(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("symbolic", "lemma", "unknowns", "true_of_dma", "true_of_halves", "false"):
        monkeypatch.delitem(sys.modules, f"topbit.addressing.proofs.{name}", raising=False)
        monkeypatch.delattr(f"topbit.addressing.proofs.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "z3", None)
    with pytest.raises(MissingToolError, match="z3-solver"):
        prove.lemmas()
