"""Which small faults could a programmer have made in this source text?

Each `Mutation` changes one place: a comparison, an operator, a constant, a condition, a returned
value, a keyword argument, or a statement that is left out. What cannot change behaviour is left
alone: annotations, decorators, text, and keywords that only guard (`zip(..., strict=True)`).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

SWAPS: dict[type[ast.AST], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: (r"is\s+not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: (r"not\s+in", "in"),
    ast.And: ("and", "or"),
    ast.Or: ("or", "and"),
    ast.Add: (r"\+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: (r"\*", "//"),
    ast.FloorDiv: ("//", "*"),
    ast.Div: ("/", "*"),
    ast.Mod: ("%", "*"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: (r"\|", "&"),
    ast.BitXor: (r"\^", "|"),
}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
GUARDS = {"strict", "encoding", "repr", "stacklevel", "slots"}


@dataclass(frozen=True, slots=True)
class Mutation:
    """One change of one place.

    Attributes:
        start, end: the bytes that are replaced.
        text: what takes their place.
        lines: the lines of the statement (its header only, if it has a body).
        at_import: it runs when the module is imported, not when a function is called.
        scope: the function, or class, that it stands in ("Vmm.create"); empty for the module.
        old, new: the lines changed, before and after, with single spaces.
    """

    start: int
    end: int
    text: bytes
    lines: range
    at_import: bool
    scope: str
    old: str
    new: str

    def apply(self, source: bytes) -> bytes:
        """The source with the change made."""
        return source[: self.start] + self.text + source[self.end :]


def mutations(source: bytes) -> list[Mutation]:
    """All mutations of a module, in the order of its text."""
    tree = ast.parse(source)
    found = _Finder(source).statements(tree.body, "", at_import=True)
    return sorted(found, key=lambda m: (m.start, m.end, m.text))


class _Finder:
    def __init__(self, source: bytes) -> None:
        self.source = source
        starts = [0]
        for line in source.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        self.starts = starts

    def statements(
        self, body: list[ast.stmt], scope: str, *, at_import: bool
    ) -> Iterator[Mutation]:
        for statement in body:
            inner = [b for b in _bodies(statement) if b]
            last = min((b[0].lineno for b in inner), default=(statement.end_lineno or 0) + 1)
            lines = range(statement.lineno, max(last, statement.lineno + 1))
            for start, end, text in self._edits(statement):
                old, new = self._shown(start, end, text)
                yield Mutation(start, end, text, lines, at_import, scope, old, new)
            name, function = "", isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef)
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = f".{statement.name}" if scope else statement.name
            for block in inner:
                yield from self.statements(
                    block, scope + name, at_import=at_import and not function
                )

    def _edits(self, statement: ast.stmt) -> Iterator[tuple[int, int, bytes]]:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            return
        if _may_go(statement):
            yield *self._span(statement), b"pass"
        for node in _expressions(statement):
            yield from self._expression_edits(node)
        if isinstance(statement, ast.If | ast.While | ast.Assert):
            yield from self._negated(statement.test)
        if isinstance(statement, ast.Return) and not isinstance(
            statement.value, ast.Constant | None
        ):
            yield *self._span(statement.value), b"None"

    def _expression_edits(self, node: ast.AST) -> Iterator[tuple[int, int, bytes]]:
        match node:
            case ast.Compare():
                operands = [node.left, *node.comparators]
                for left, right, op in zip(operands, operands[1:], node.ops, strict=False):
                    yield from self._operator(left, right, op)
            case ast.BoolOp():
                for left, right in zip(node.values, node.values[1:], strict=False):
                    yield from self._operator(left, right, node.op)
            case ast.BinOp():
                yield from self._operator(node.left, node.right, node.op)
            case ast.AugAssign():
                yield from self._operator(node.target, node.value, node.op)
            case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert()):
                start, _ = self._span(node)
                yield start, start + (3 if isinstance(node.op, ast.Not) else 1), b""
            case ast.Constant(value=bool()):
                yield *self._span(node), str(not node.value).encode()
            case ast.Constant(value=int(value)):
                start, end = self._span(node)
                form = hex if self.source[start:end].lower().startswith(b"0x") else str
                yield start, end, form(value + 1).encode()
                if value > 0:
                    yield start, end, form(value - 1).encode()
            case ast.Call():
                if isinstance(node.func, ast.Name) and node.func.id in NAMES:
                    yield *self._span(node.func), NAMES[node.func.id].encode()
                for keyword in node.keywords:
                    if keyword.arg and keyword.arg not in GUARDS:
                        start, end = self._span(keyword)
                        comma = re.compile(rb"\s*,\s*").match(self.source, end)
                        yield start, comma.end() if comma else end, b""
            case ast.IfExp():
                yield from self._negated(node.test)
            case ast.comprehension():
                for condition in node.ifs:
                    yield from self._negated(condition)

    def _operator(
        self, left: ast.AST, right: ast.AST, op: ast.AST
    ) -> Iterator[tuple[int, int, bytes]]:
        if type(op) not in SWAPS:
            return
        pattern, other = SWAPS[type(op)]
        if found := re.compile(pattern.encode()).search(
            self.source, self._span(left)[1], self._span(right)[0]
        ):
            yield found.start(), found.end(), other.encode()

    def _negated(self, test: ast.expr) -> Iterator[tuple[int, int, bytes]]:
        match test:
            case ast.BoolOp():
                for value in test.values:
                    yield from self._negated(value)
            case ast.Compare() | ast.UnaryOp(op=ast.Not()):
                return
            case _:
                start, end = self._span(test)
                yield start, end, b"(not (" + self.source[start:end] + b"))"

    def _span(self, node: ast.AST) -> tuple[int, int]:
        assert isinstance(node, ast.expr | ast.stmt | ast.keyword)
        end_line, end_column = node.end_lineno or 0, node.end_col_offset or 0
        start = self.starts[node.lineno - 1] + node.col_offset
        return start, self.starts[end_line - 1] + end_column

    def _shown(self, start: int, end: int, text: bytes) -> tuple[str, str]:
        first = self.source.rfind(b"\n", 0, start) + 1
        last = self.source.find(b"\n", end)
        last = len(self.source) if last < 0 else last
        new = self.source[first:start] + text + self.source[end:last]
        old = self.source[first:last]
        return " ".join(old.decode().split()), " ".join(new.decode().split())


def _bodies(statement: ast.stmt) -> list[list[ast.stmt]]:
    """The blocks that a compound statement holds."""
    blocks = [getattr(statement, name, []) for name in ("body", "orelse", "finalbody")]
    holders = [*getattr(statement, "handlers", []), *getattr(statement, "cases", [])]
    return blocks + [holder.body for holder in holders]


def _may_go(statement: ast.stmt) -> bool:
    """Does leaving the statement out leave a program that may run?"""
    match statement:
        case ast.Expr(value=ast.Call() | ast.Yield() | ast.YieldFrom() | ast.Await()):
            return True
        case ast.Raise() | ast.Continue() | ast.Break() | ast.AugAssign() | ast.Delete():
            return True
        case ast.Return(value=None):
            return True
        case ast.Assign(targets=[*targets]):
            return any(isinstance(t, ast.Attribute | ast.Subscript) for t in targets)
    return False


def _expressions(statement: ast.stmt) -> Iterator[ast.AST]:
    """The statement and the expressions that it evaluates itself, outside its blocks."""
    skipped = {"body", "orelse", "finalbody", "handlers", "annotation", "returns"}
    skipped |= {"decorator_list", "type_comment", "bases"}
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        yield node
        left_out = skipped if node is statement else {"annotation", "returns"}
        for name, value in ast.iter_fields(node):
            if name in left_out:
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.JoinedStr | ast.stmt):
                    continue
                if isinstance(child, ast.AST) and not (
                    isinstance(child, ast.keyword) and child.arg in GUARDS
                ):
                    waiting.append(child)
