"""Which one-line faults are made of a source text?"""

import ast
from pathlib import Path

import pytest

from mutations import mutations
from paths import ROOT

SOURCES = sorted((ROOT / "src").rglob("*.py"))


def made(source: str) -> set[str]:
    text = source.encode()
    return {mutation.apply(text).decode() for mutation in mutations(text)}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b", {"a <= b"}),
        ("a <= b < c", {"a < b < c", "a <= b <= c"}),
        ("(a) is not (b)", {"(a) is (b)"}),
        ("a not in b", {"a in b"}),
        ("a and b and c", {"a or b and c", "a and b or c"}),
        ("(a + b) * c", {"(a - b) * c", "(a + b) // c"}),
        ("a & ~b", {"a | ~b", "a & b"}),
        ("a | b << c", {"a & b << c", "a | b >> c"}),
        ("x = 0", {"x = 1"}),
        ("x = 0x10", {"x = 0x11", "x = 0xf"}),
        ("x = True", {"x = False"}),
        ("not (a)", {" (a)"}),
        ("x += y", {"pass", "x -= y"}),
        ("f(a, b=c, d=e)", {"pass", "f(a, d=e)", "f(a, b=c, )"}),
        ("x = min(a, b)", {"x = max(a, b)"}),
        ("a.b = c", {"pass"}),
        ("x = a if b else c", {"x = a if (not (b)) else c"}),
        ("x = [a for a in b if a]", {"x = [a for a in b if (not (a))]"}),
        ("if a and b > c:\n f = 'x'", {
            "if (not (a)) and b > c:\n f = 'x'",
            "if a or b > c:\n f = 'x'",
            "if a and b >= c:\n f = 'x'",
        }),
        ("def f():\n return a", {"def f():\n return None"}),
        ("def f():\n raise a", {"def f():\n pass"}),
    ],
)  # fmt: skip
def test_each_place_is_changed_alone(source: str, expected: set[str]) -> None:
    assert made(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        '"""A docstring."""',
        "import a",
        "x: Literal[3]",
        "def f(a: Literal[3]) -> Literal[4]: ...",
        "@dataclass(slots=True)\nclass A: ...",
        "x = f'{a + 1}'",
        "x = zip(a, b, strict=True)",
        "x = 'text'",
        "def f():\n return None",
        "x = y",
    ],
)
def test_what_cannot_change_behaviour_is_left_alone(source: str) -> None:
    assert made(source) == set()


def test_a_mutation_tells_where_it_is_and_what_it_changes() -> None:
    source = "def f(\n    x=1,\n):\n    return g(\n        x,\n        2,\n    )\n"
    default, *_, constant = (m for m in mutations(source.encode()) if m.text in (b"0", b"1", b"3"))
    assert (default.at_import, default.lines) == (True, range(1, 4))
    assert (constant.at_import, constant.lines) == (False, range(4, 8))
    assert (constant.old, constant.new) == ("2,", "3,")


def test_a_mutation_tells_the_function_that_it_stands_in() -> None:
    source = "a = 1\nclass B:\n    c = 1\n    def d(self):\n        if self:\n            e = 1\n"
    scopes = {mutation.old: mutation.scope for mutation in mutations(source.encode())}
    assert scopes == {"a = 1": "", "c = 1": "B", "if self:": "B.d", "e = 1": "B.d"}


def test_letters_beyond_ascii_do_not_move_the_place() -> None:
    assert made("x = 'é'; y = 1") == {"x = 'é'; y = 2", "x = 'é'; y = 0"}


@pytest.mark.parametrize("path", SOURCES[::10], ids=lambda path: path.stem)
def test_every_mutant_is_another_program(path: Path) -> None:
    source = path.read_bytes()
    before = ast.dump(ast.parse(source))
    for mutation in mutations(source):
        assert ast.dump(ast.parse(mutation.apply(source))) != before
