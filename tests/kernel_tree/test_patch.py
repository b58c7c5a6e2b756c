"""Patches, mails and mboxes on a copy of a tree."""

import base64
import difflib
import re
from pathlib import Path

import pytest

import needs
import small_tree
from topbit.errors import InputError, MissingToolError
from topbit.kernel_tree.judge import judge
from topbit.kernel_tree.patch import diff_of, patched
from topbit.kernel_tree.tree import ARM64_DMA_DIRECT, ARM64_MEM_ENCRYPT, DMA_DIRECT, RSI, SourceTree

OLD, NEW = "BIT(config.ipa_bits - 1)", "__phys_to_pte_val(BIT(config.ipa_bits - 1))"


def difference(name: str, before: str, after: str) -> str:
    lines = (text.splitlines(keepends=True) for text in (before, after))
    return "".join(difflib.unified_diff(*lines, f"a/{name}", f"b/{name}"))


PATCH = difference(RSI[0], small_tree.REALM, small_tree.REALM.replace(OLD, NEW))


def mail(body: str, encoding: str = "") -> str:
    head = "From: A Developer <a@example.org>\nSubject: [PATCH] arm64: realm\n"
    return (
        f"{head}{encoding}\nBecause.\n\n---\n{body}-- \n2.43\n"
        if not encoding
        else head + encoding + body
    )


BASE64 = base64.encodebytes(f"Because.\n---\n{PATCH}".encode()).decode()
FORMS = {
    "patch": PATCH,
    "crlf": PATCH.replace("\n", "\r\n"),
    "mail": mail(PATCH),
    "mbox": f"From 1f2e Mon Sep 17 00:00:00 2001\n{mail(PATCH)}",
    "base64": mail(
        f"\n{BASE64}",
        "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n",
    ),
    "others": "diff --git a/x.c b/x.c\n--- a/x.c\n+++ b/x.c\n@@ -1 +1 @@\n-a\n+b\n" + PATCH,
}


@pytest.fixture
def tree(tmp_path: Path) -> SourceTree:
    needs.program("git")
    return SourceTree(small_tree.write(tmp_path / "tree"))


@pytest.mark.parametrize("form", FORMS)
def test_a_patch_is_applied_to_a_copy(tree: SourceTree, form: str) -> None:
    with patched(tree, FORMS[form].encode(), form) as changed:
        assert NEW in changed.read(RSI[0])
        assert changed.read(DMA_DIRECT) == tree.read(DMA_DIRECT)
    assert tree.read(RSI[0]) == small_tree.REALM
    assert not changed.root.exists()


def test_a_series_in_one_file(tree: SourceTree) -> None:
    other = difference(ARM64_MEM_ENCRYPT, small_tree.ARM64, small_tree.ARM64 + "/* more */\n")
    series = "".join(f"From 1f2e Mon Sep 17 00:00:00 2001\n{mail(one)}" for one in (PATCH, other))
    with patched(tree, series.encode(), "series") as changed:
        assert NEW in changed.read(RSI[0])
        assert "more" in changed.read(ARM64_MEM_ENCRYPT)


def test_a_new_file_of_those_that_are_judged(tree: SourceTree) -> None:
    new = difference(ARM64_DMA_DIRECT, "", "#define x\n").replace(
        f"a/{ARM64_DMA_DIRECT}", "/dev/null"
    )
    with patched(tree, new.encode(), "new") as changed:
        assert changed.read(ARM64_DMA_DIRECT) == "#define x\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no patch at all", "changes none of the files"),
        ("--- a/mm/x.c\n+++ b/mm/x.c\n@@ -1 +1 @@\n-a\n+b\n", "changes none of the files"),
        (PATCH.replace("-\tprot", "-\tshared"), r"does not apply: .*--tree must be.*7\.9\.1"),
    ],
)
def test_what_does_not_apply(tree: SourceTree, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words), patched(tree, text.encode(), "x.patch"):
        pass


def test_without_git(tree: SourceTree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingToolError, match="git"), patched(tree, PATCH.encode(), "x"):
        pass


def test_words_that_look_like_headers_are_no_mail() -> None:
    assert diff_of(b"--- a/x\n+++ b/x\n") == b"--- a/x\n+++ b/x\n"


# The series (three patches) and 8c6e9b60f5c7, as changes of a released tree that is older or newer.
SERIES = {
    ARM64_MEM_ENCRYPT: [
        (r"#define dma_addr_unencrypted\(.*\n", ""),
        (r"#define dma_addr_canonical\(.*\n", ""),
    ],
    DMA_DIRECT: [
        (r"\n[^\n]*= dma_addr_canonical\([^\n]*", ""),
        (r"return (\w+);(?=\n\}\n#endif /\* !)", r"return dma_addr_canonical(\1);"),
    ],
    RSI[0]: [(re.escape(NEW), OLD)],
}
ENCODING = {RSI[0]: [(re.escape(NEW), OLD)]}


def undone(
    released: SourceTree, root: Path, changes: dict[str, list[tuple[str, str]]]
) -> SourceTree:
    """The released tree before the changes."""
    for file in filter(released.has, [*small_tree.GOOD]):
        text = released.read(file)
        for pattern, before in changes.get(file, []):
            text, count = re.subn(pattern, before, text)
            assert count == 1, pattern
        place = root / file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return SourceTree(root)


@pytest.mark.parametrize(
    ("done", "undo", "before", "after"),
    [
        # Patches 1/3 to 3/3 on a tree before them: plain addresses, old order. After: right; the
        # CPU's page tables are wrong for wide Realms, as they were.
        (ENCODING, SERIES, {"order", "page tables", "plain"}, {"page tables"}),
        # 8c6e9b60f5c7 mends those page tables, and brings their encoding into addresses.
        ({}, ENCODING, {"page tables"}, {"page-table encoding"}),
    ],
)
def test_historic_patches(
    tmp_path: Path,
    done: dict[str, list[tuple[str, str]]],
    undo: dict[str, list[tuple[str, str]]],
    before: set[str],
    after: set[str],
) -> None:
    released = SourceTree(needs.source("7.2"))
    newer = undone(released, tmp_path / "newer", done)
    older = undone(released, tmp_path / "older", undo)
    patch = "".join(
        difference(name, older.read(name), newer.read(name))
        for name in small_tree.GOOD
        if newer.has(name) and older.read(name) != newer.read(name)
    )
    assert {fault.name for fault in judge(older).faults} == before
    with patched(older, patch.encode(), "patch") as changed:
        assert {fault.name for fault in judge(changed).faults} == after
