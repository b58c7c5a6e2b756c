r"""Which line of a log does a line of another file hold as a value?

JSON objects (of journalctl -o json, dmesg --json, container runtimes, LAVA's YAML), journalctl's
export form, logfmt (kata's `vmconsole="..."`), HTML, quoted mail, quoted-printable too, and the
strings of an HTML trace viewer, whose lines end with `\n\`; the last column of a CSV. One may stand
in another: kata's logfmt in the journal's export form, or in docker's JSON.

Sources: systemd 257 systemd.journal-fields(7), "Journal Export Formats"; docker's json-file
logging driver; kata-containers' reading of the guest console.
"""

from __future__ import annotations

import html
import json
import re

from topbit.readers.lines import plain

QUOTED = re.compile(r"(?: ?(?:>|&gt;))+ ?")
FIELD = re.compile(r'\s{0,16}(?:"?MESSAGE"?|"msg") {0,2}[=:] {0,2}')
LOGFMT = re.compile(r'\b(vmconsole|msg|message|log)="((?:[^"\\]|\\.)*)"?')
# The last column of a table of comma-separated values.
CELL = re.compile(r',"((?:[^"]|"")*)"$')
PRINTABLE = re.compile(r"=([2-7][0-9A-F]|09)")
TAG = re.compile(
    r"</?(?:span|pre|code|p|br|div|td|tr|th|table|tt|a|b|i|u|em|strong|font|li|ul|samp|kbd|html|body)"
    r"(?: [^<>]{0,300})?/?>",
    re.I,
)
KEYS = ("MESSAGE", "log", "msg", "message", "line", "text", "content")
MONOTONIC = ("_SOURCE_MONOTONIC_TIMESTAMP", "__MONOTONIC_TIMESTAMP")
LONGEST = 1 << 20
"""Characters of a JSON line; a longer one is no line of a log."""
LONGEST_ROW = 1 << 12
"""Characters of a row of comma-separated values."""
ESCAPES = {"n": "", "r": "", "t": "\t"}


def opened(line: str) -> tuple[str, float | None]:
    """Which line is inside, and at which monotonic time (seconds), if the container tells?"""
    time = None
    if line[:1] in (" ", ">", "|", "&") and (quoted := QUOTED.match(line)):
        line = line[quoted.end() :]
    head = line.lstrip()[:9]
    if head[:1] in ("{", "-", "d") and "{" in head and line.rstrip()[-1:] in ("}", ","):
        line, time = _json(line)
    elif ("MESSAGE" in head or '"msg"' in head) and (field := FIELD.match(line)):
        line = _string(line[field.end() :])
    if '="' in line and (held := _logfmt(line)) is not None:
        line = held
    elif line.endswith('"') and len(line) < LONGEST_ROW and (cell := CELL.search(line)):
        line = cell[1].replace('""', '"')
    if "=3D" in line:
        # Mail's quoted-printable form
        line = PRINTABLE.sub(lambda match: chr(int(match[1], 16)), line)
    if "<" in line and ">" in line:
        line = TAG.sub("", line)
    if "&" in line:
        line = html.unescape(line).replace("\xa0", " ")
    if line.endswith(("\\n\\", "\\n")):
        line = line.rstrip("\\n").rstrip() if line.endswith("\\") else line[:-2].rstrip()
    if line.startswith("`") or line.endswith("`"):
        line = line.strip("`")
    return line, time


def _json(line: str) -> tuple[str, float | None]:
    start = line.index("{")
    if len(line) > LONGEST:
        return line, None
    try:
        held = json.loads(line[start:].rstrip().rstrip(","))
    except (ValueError, RecursionError):
        return line, None
    text = next((held[key] for key in KEYS if key in held), None)
    if isinstance(text, list):
        # journalctl gives bytes that are no UTF-8 one by one.
        known = [byte for byte in text if isinstance(byte, int) and 0 <= byte < 256]
        text = bytes(known).decode("utf-8", "replace")
    if not isinstance(text, str):
        return line, None
    text = plain(text).strip("\n")
    time = next((held[key] for key in MONOTONIC if key in held), None)
    known_time = str(time).isdecimal() and len(str(time)) < 19
    return text, int(str(time)) / 1e6 if known_time else None


def _string(text: str) -> str:
    """What does a JSON string, or a plain value, hold?"""
    if not text.startswith('"') or len(text) > LONGEST:
        return text
    try:
        held = json.loads(text.rstrip().rstrip(","))
    except ValueError:
        return text
    return plain(held) if isinstance(held, str) else text


def _logfmt(line: str) -> str | None:
    found = dict(LOGFMT.findall(line))
    text = found.get("vmconsole") or next(
        (found[key] for key in ("log", "message", "msg") if key in found), None
    )
    if text is None:
        return None
    return re.sub(r"\\(.)", lambda match: ESCAPES.get(match[1], match[1]), text)
