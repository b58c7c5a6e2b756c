r"""Further things that stand around a log's lines, and several of them at once.

As `log_wrappings`: each takes (time in seconds, level, message) of every line and gives a file.
"""

from __future__ import annotations

import html
import json
import quopri
from collections.abc import Callable
from typing import TypeAlias

from log_wrappings import Line, clock, each, stamp

Bytes: TypeAlias = Callable[[list[Line]], str | bytes]


def printed(time: float, text: str) -> str:
    return f"{stamp(time)} {text}"


def whole(lines: list[Line], end: str = "\n") -> str:
    return "".join(printed(time, text) + end for time, _, text in lines)


def dated(time: float, text: str) -> str:
    return f"[Tue Nov 12 {clock(time)} 2024] {text}"


def kata(time: float, text: str) -> str:
    quoted = printed(time, text).replace('"', '\\"')
    return (
        'time="2024-11-12T10:02:01.123Z" level=debug msg="reading guest console" '
        f'name=containerd-shim-v2 pid=1 sandbox=a vmconsole="{quoted}"'
    )


MORE: dict[str, Bytes] = {
    # several at once
    "docker around dmesg -T": each(
        lambda time, _, text: json.dumps({"log": dated(time, text) + "\n", "stream": "stdout"})
    ),
    "kata in the journal's export form": each(
        lambda time, _, text: f"MESSAGE={kata(time, text)}\nPRIORITY=7\n"
    ),
    "kata in docker": each(lambda time, _, text: json.dumps({"log": kata(time, text) + "\n"})),
    "kata in journalctl": each(
        lambda time, _, text: f"Nov 12 11:02:01 node1 kata[812]: {kata(time, text)}"
    ),
    "LAVA around a vendor's prefix": each(
        lambda time, _, text: (
            f'- {{"dt": "2024-11-12T{clock(time)}.1", "lvl": "target", "msg": '
            + json.dumps(f"{stamp(time)} [pid:134,cpu0,irq/13-smmu]{text}")
            + "}"
        )
    ),
    "colours and CR LF": each(
        lambda time, _, text: f"\x1b[32m{stamp(time)} \x1b[0m\x1b[33m{text}\x1b[0m\r"
    ),
    "JSON around HTML": each(
        lambda time, _, text: json.dumps({"log": html.escape(printed(time, text))})
    ),
    "mail's quoted-printable form of a quote": lambda lines: quopri.encodestring(
        "".join(f"> {printed(time, text)}\n" for time, _, text in lines).encode()
    ).decode(),
    # encodings and line ends
    "UTF-16": lambda lines: ("\ufeff" + whole(lines, "\r\n")).encode("utf-16-le"),
    "UTF-16 without a mark": lambda lines: whole(lines, "\r\n").encode("utf-16-le"),
    "UTF-8 with a mark": lambda lines: whole(lines).encode("utf-8-sig"),
    "CR alone": lambda lines: whole(lines, "\r"),
    "CR CR LF": lambda lines: whole(lines, "\r\r\n"),
    "a cloud's console, one JSON string": lambda lines: json.dumps(
        {"InstanceId": "i-1", "Output": whole(lines, "\r\n")}
    ),
    "tabs expanded": lambda lines: whole(lines).expandtabs(8),
    # CI systems, containers, collectors
    "CRI": each(
        lambda time, _, text: f"2024-11-12T11:02:01.123456789+01:00 stdout F {printed(time, text)}"
    ),
    "GitLab": each(
        lambda time, _, text: f"2024-11-12T{clock(time)}.123456Z 01O {printed(time, text)}"
    ),
    "GitHub with colours": each(
        lambda time, _, text: (
            f"2024-11-12T{clock(time)}.1234567Z \x1b[36m{stamp(time)}\x1b[0m {text}"
        )
    ),
    "Buildkite": each(lambda time, _, text: f"\x1b_bk;t=1731405720123\x07{printed(time, text)}"),
    "Kubernetes as JSON": each(
        lambda time, _, text: json.dumps(
            {"time": "2024-11-12T11:02:01Z", "level": "info", "line": printed(time, text)}
        )
    ),
    "Loki": each(
        lambda time, _, text: (
            f'2024-11-12T11:02:01Z {{job="serial",vm="realm"}} {printed(time, text)}'
        )
    ),
    "ts": each(lambda time, _, text: f"Nov 12 {clock(time)} {printed(time, text)}"),
    "CSV": lambda lines: (
        "time,host,message\n"
        + "".join(
            f'2024-11-12T11:02:01Z,realm-0,"{printed(time, text)}"\n' for time, _, text in lines
        )
    ),
    # tools and people
    "cat -n": each(lambda time, _, text: f"    12\t{printed(time, text)}"),
    "grep -n": each(lambda time, _, text: f"12:{printed(time, text)}"),
    "grep in files": each(lambda time, _, text: f"console.log:{printed(time, text)}"),
    "a diff": each(lambda time, _, text: f"+{printed(time, text)}"),
    "crash> log": lambda lines: "crash> log\n" + whole(lines),
    "ramoops": lambda lines: (
        "Oops#1 Part1\n"
        + "".join(f"<{level}>{printed(time, text)}\n" for time, level, text in lines)
    ),
    "screen": each(lambda time, _, text: f"\x1b[?25l{printed(time, text)}\x1b[K\r"),
    "a table of HTML": each(
        lambda time, _, text: f"<tr><td>1</td><td>{html.escape(printed(time, text))}</td></tr>"
    ),
}
