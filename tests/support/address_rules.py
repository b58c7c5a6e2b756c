"""Where does source code write out what only `arch/ipa.py` should know of a Realm's addresses?"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

NAMES_OF_THE_BIT = {"shared_bit", "_shared_bit", "prot_ns_shared"}
NUMBER_OF_THE_C_BIT = "c_bit"
BIT_OPERATIONS = (ast.BitOr, ast.BitAnd, ast.BitXor, ast.Add, ast.Sub)

# Parameters and fields that name an address, in the rooms where addresses pass.
ADDRESS_NAMES = {
    *("ipa", "pa", "iova", "gpa", "phys", "dma_addr", "tlb_addr", "orig_addr", "tbl_dma_addr"),
    *("addr", "address", "paddr", "fault", "base", "start", "end", "top", "page", "buffer"),
    *("rec", "rec_pa", "rd", "run", "params_pa", "root", "rtt_base", "table", "l0", "l1"),
    *("doorbell", "msi", "ring", "desc", "avail", "used", "oa", "cpu_start", "dma_start"),
    *("private_pa", "shared_pa", "stage", "progress", "target"),
}
ENDS = {"top", "end"}  # of a range that is not (start, size)


class Found(NamedTuple):
    """What stands where: the qualified name of the function or class, the line, the fault."""

    where: str
    line: int
    what: str


def _name(node: ast.expr) -> str:
    """The last word of `a.b.name` or `name`; "" for anything else."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _is_one(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == 1


class _Arithmetic(ast.NodeVisitor):
    """Finds the shared bit made of a width, the C bit made of its number, and bit operations with
    the shared bit, under any local name."""

    def __init__(self) -> None:
        self.found: list[Found] = []
        self.path: list[str] = []
        self.bits: list[set[str]] = [set(NAMES_OF_THE_BIT)]  # names of the bit, by scope
        self.numbers: list[set[str]] = [{NUMBER_OF_THE_C_BIT}]  # of the C bit's number, as well

    def _scope(self, node: ast.FunctionDef | ast.ClassDef) -> None:
        self.path.append(node.name)
        self.bits.append(set(self.bits[-1]))
        self.numbers.append(set(self.numbers[-1]))
        self.generic_visit(node)
        self.bits.pop()
        self.numbers.pop()
        self.path.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._scope(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._scope(node)

    def _say(self, node: ast.expr | ast.stmt, what: str) -> None:
        self.found.append(Found(".".join(self.path), node.lineno, what))

    def _is_bit(self, node: ast.expr) -> bool:
        """Is it the shared bit, or a mask made of nothing else?"""
        if isinstance(node, ast.UnaryOp):
            return self._is_bit(node.operand)
        if isinstance(node, ast.BoolOp):  # platform.shared_bit or 0
            return any(self._is_bit(value) for value in node.values)
        if isinstance(node, ast.IfExp):
            return self._is_bit(node.body) or self._is_bit(node.orelse)
        if isinstance(node, ast.Call):  # np.uint64(bit), pl.lit(~bit), Ipa(bit)
            return any(self._is_bit(argument) for argument in node.args)
        return _name(node) in self.bits[-1] or self._made(node)

    def _made(self, node: ast.expr) -> bool:
        """Is it 1 << (width - 1), or another way to write that?"""
        if not isinstance(node, ast.BinOp):
            return False
        if isinstance(node.op, ast.LShift | ast.Pow):
            one_less = isinstance(node.right, ast.BinOp) and isinstance(node.right.op, ast.Sub)
            number = one_less and _is_one(node.right.right)  # type: ignore[attr-defined]
            return isinstance(node.left, ast.Constant) and (
                number or _name(node.right) == "bit_number"
            )
        if isinstance(node.op, ast.RShift | ast.FloorDiv):
            whole = node.left
            width = isinstance(whole, ast.BinOp) and "bits" in _name(whole.right)
            return width and isinstance(node.right, ast.Constant)
        return False

    def _is_number(self, node: ast.expr) -> bool:
        """Is it the number of the C bit, under whichever name?"""
        if isinstance(node, ast.BoolOp):  # platform.c_bit or 0
            return any(self._is_number(value) for value in node.values)
        return _name(node) in self.numbers[-1]

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if isinstance(node.op, ast.LShift | ast.RShift) and self._is_number(node.right):
            self._say(node, "the C bit is made of its number: ask Platform, or the scheme")
        if self._made(node):
            self._say(node, "the shared bit is made of a width: ask IpaSpace.shared_bit")
        elif isinstance(node.op, BIT_OPERATIONS):
            if self._is_bit(node.left) or self._is_bit(node.right):
                self._say(node, "arithmetic with the shared bit: ask IpaSpace")
            elif "ipa_bits" in _name(node.left) and _is_one(node.right):
                self._say(node, "the bit's number is made of a width: ask IpaSpace.bit_number")
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.op, BIT_OPERATIONS) and self._is_bit(node.value):
            self._say(node, "arithmetic with the shared bit: ask IpaSpace")
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        if self._is_bit(node.value):
            self.bits[-1].update(filter(None, map(_name, node.targets)))
        if self._is_number(node.value):
            self.numbers[-1].update(filter(None, map(_name, node.targets)))


def arithmetic(source: str) -> list[Found]:
    """Where is the shared bit made, set, cleared, flipped or looked at by hand?"""
    visitor = _Arithmetic()
    visitor.visit(ast.parse(source))
    return visitor.found


def _public(tree: ast.AST, path: str = "") -> Iterator[tuple[str, str, int, ast.expr | None]]:
    """Qualified name, parameter or field, line and annotation of all that is public."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            if node.name.startswith("_") and not node.name.startswith("__"):
                continue
            name = f"{path}.{node.name}".removeprefix(".")
            if isinstance(node, ast.ClassDef):
                yield from _public(node, name)
                continue
            for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
                yield name, argument.arg, argument.lineno, argument.annotation
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield path, node.target.id, node.lineno, node.annotation


def untyped(source: str) -> list[Found]:
    """Which public parameters and fields are called an address and are bare ints?"""
    bare = ("int", "int | None", "list[int]", "tuple[int, int]")
    return [
        Found(where, line, f"{name} is an address without a type")
        for where, name, line, annotation in _public(ast.parse(source))
        if name in ADDRESS_NAMES and annotation is not None and ast.unparse(annotation) in bare
    ]


def ends(source: str) -> list[Found]:
    """Which public parameters and fields are the end of a range that should have a size?"""
    return [
        Found(where, line, f"{name}: a range is (start, size)")
        for where, name, line, _ in _public(ast.parse(source))
        if name in ENDS
    ]


def calls(source: str, *methods: str) -> set[str]:
    """In which functions is one of these methods called? By qualified name."""
    found: set[str] = set()

    def look(node: ast.AST, path: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                look(child, f"{path}.{child.name}".removeprefix("."))
                continue
            called = child.func if isinstance(child, ast.Call) else None
            if isinstance(called, ast.Attribute) and called.attr in methods:
                found.add(path)
            look(child, path)

    look(ast.parse(source), "")
    return found
