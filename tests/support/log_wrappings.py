r"""What journalctl, dmesg, syslog daemons, CI systems, containers and mail put around a log's line.

Each wrapping takes (time in seconds, level, message) of every line and gives the text of a file.
"""

from __future__ import annotations

import html
import json
import quopri
from collections.abc import Callable
from typing import TypeAlias

Line: TypeAlias = tuple[float, int, str]
Wrapping: TypeAlias = Callable[[list[Line]], str]

GUEST: list[Line] = [
    (0.0, 6, "Booting Linux on physical CPU 0x0000000000 [0x410fd0f0]"),
    (
        0.0,
        5,
        "Linux version 6.16.12 (build@host) (aarch64-linux-gnu-gcc (GCC) 14.2.0) #1 SMP PREEMPT "
        "aarch64",
    ),
    (0.0, 6, "RME: Using RSI version 1.0"),
    (0.0, 6, "Early memory node ranges"),
    (0.0, 6, "  node   0: [mem 0x0000000080000000-0x000000009fffffff]"),
    (0.01, 6, "software IO TLB: mapped [mem 0x0000000097000000-0x000000009b000000] (64MB)"),
    (
        0.5,
        4,
        "software IO TLB: Memory encryption is active and system is using DMA bounce buffers",
    ),
    (1.1, 6, "pci 0000:00:02.0: [1af4:1042] type 00 class 0x010000 conventional PCI endpoint"),
    (
        20.25,
        4,
        "virtio-pci 0000:00:02.0: swiotlb buffer is full (sz: 131072 bytes), total 32768 (slots), "
        "used 32700 (slots)",
    ),
]
HOST: list[Line] = [
    (911.0001, 3, "arm-smmu-v3 arm-smmu-v3.1.auto: event 0x10 received:"),
    (911.000102, 3, "arm-smmu-v3 arm-smmu-v3.1.auto: \t0x0000001000000010"),
    (911.000103, 3, "arm-smmu-v3 arm-smmu-v3.1.auto: \t0x0000028800000000"),
    (911.000104, 3, "arm-smmu-v3 arm-smmu-v3.1.auto: \t0x0000010090123000"),
    (911.000105, 3, "arm-smmu-v3 arm-smmu-v3.1.auto: \t0x0000010090123000"),
]

LEVELS = ("emerg", "alert", "crit", "err", "warn", "notice", "info", "debug")


def stamp(time: float) -> str:
    """The time as printk prints it."""
    return f"[{time:12.6f}]"


def clock(time: float) -> str:
    """The time as a clock shows it that the boot began at 11:02:00."""
    seconds = int(time)
    return f"{11 + seconds // 3600:02}:{2 + seconds // 60 % 60:02}:{seconds % 60:02}"


def fraction(time: float) -> str:
    return f"{time % 1:.6f}"[1:]


def each(form: Callable[[float, int, str], str]) -> Wrapping:
    """The wrapping that gives every line a form of its own."""
    return lambda lines: "".join(form(*line) + "\n" for line in lines)


def before(form: Callable[[float, int, str], str]) -> Wrapping:
    """The wrapping that puts something before what printk prints."""
    return each(lambda time, level, text: f"{form(time, level, text)}{stamp(time)} {text}")


def journal(time: float, level: int, text: str) -> dict[str, object]:
    return {
        "__MONOTONIC_TIMESTAMP": str(int(time * 1e6) + 7),
        "_TRANSPORT": "kernel",
        "PRIORITY": str(level),
        "SYSLOG_IDENTIFIER": "kernel",
        "MESSAGE": text,
    }


def export(time: float, level: int, text: str) -> str:
    fields = journal(time, level, text)
    return "\n".join(f"{key}={value}" for key, value in fields.items()) + "\n"


def wrapped_mail(lines: list[Line]) -> str:
    """Mail breaks lines between words at 76 columns."""
    out: list[str] = []
    for time, _, text in lines:
        line = f"{stamp(time)} {text}"
        while len(line) > 76:
            at = line.rfind(" ", 20, 77)
            if at < 0:
                break
            out.append(line[:at])
            line = line[at + 1 :]
        out.append(line)
    return "\n".join(out) + "\n"


def wrapped_quote(lines: list[Line]) -> str:
    """Mail that was wrapped and then quoted."""
    return "".join(f"> {line}\n" for line in wrapped_mail(lines).splitlines())


def quoted_printable(lines: list[Line]) -> str:
    """Mail as it travels: soft breaks at 76 columns, `=` written as its code."""
    whole = "".join(f"{stamp(time)} {text}\n" for time, _, text in lines)
    return quopri.encodestring(whole.encode()).decode()


def cut_at_80(lines: list[Line]) -> str:
    """A terminal of 80 columns, copied."""
    out: list[str] = []
    for time, _, text in lines:
        line = f"{stamp(time)} {text}"
        out += [line[at : at + 80] for at in range(0, len(line), 80)]
    return "\n".join(out) + "\n"


WRAPPINGS: dict[str, Wrapping] = {
    # dmesg
    "dmesg": before(lambda *_: ""),
    "dmesg -t": each(lambda _, __, text: text),
    "dmesg -r": before(lambda _, level, __: f"<{level}>"),
    "dmesg -x": before(lambda _, level, __: f"kern  :{LEVELS[level]:<6}: "),
    "dmesg -T": each(lambda time, _, text: f"[Tue Nov 12 {clock(time)} 2024] {text}"),
    "dmesg -x -T": each(
        lambda time, level, text: (
            f"kern  :{LEVELS[level]:<6}: [Tue Nov 12 {clock(time)} 2024] {text}"
        )
    ),
    "dmesg -d": each(lambda time, _, text: f"[{time:12.6f} <    0.000012>] {text}"),
    "dmesg -d -T": each(
        lambda time, _, text: f"[Tue Nov 12 {clock(time)} 2024 <    0.000012>] {text}"
    ),
    "dmesg delta": each(lambda _, __, text: f"[<    0.000012>] {text}"),
    "dmesg -H": each(
        lambda time, _, text: (
            f"[Nov12 11:02] {text}" if time == 0 else f"[  +{time % 10:.6f}] {text}"
        )
    ),
    "dmesg iso": each(
        lambda time, _, text: f"2024-11-12T{clock(time)},{fraction(time)[1:]}+01:00 {text}"
    ),
    "dmesg colours": each(
        lambda time, _, text: f"\x1b[32m{stamp(time)} \x1b[0m\x1b[33m{text}\x1b[0m"
    ),
    "kmsg": each(
        lambda time, level, text: (
            f"{level},100,{int(time * 1e6)},-;{text}\n SUBSYSTEM=pci\n DEVICE=+pci:0000:00:02.0"
        )
    ),
    "dmesg --json": lambda lines: json.dumps(
        {"dmesg": [{"pri": pri, "time": time, "msg": text} for time, pri, text in lines]}, indent=3
    ),
    "caller": each(lambda time, _, text: f"{stamp(time)}[    T1] {text}"),
    "caller, 6.17": each(lambda time, _, text: f"{stamp(time)} [      T0] {text}"),
    "seconds only": each(lambda time, _, text: f"[{int(time):5}] {text}"),
    "CR LF": each(lambda time, _, text: f"{stamp(time)} {text}\r"),
    "NULs between": each(lambda time, _, text: f"\0\0{stamp(time)} {text}\0"),
    # journalctl -o
    "short": each(lambda time, _, text: f"Nov 12 {clock(time)} realm-0 kernel: {text}"),
    "short-precise": each(
        lambda time, _, text: f"Nov 12 {clock(time)}{fraction(time)} realm-0 kernel: {text}"
    ),
    "short-full": each(
        lambda time, _, text: f"Tue 2024-11-12 {clock(time)} CET realm-0 kernel: {text}"
    ),
    "short-iso": each(
        lambda time, _, text: f"2024-11-12T{clock(time)}+01:00 realm-0 kernel: {text}"
    ),
    "short-iso, no colon": each(
        lambda time, _, text: f"2024-11-12T{clock(time)}+0100 realm-0 kernel: {text}"
    ),
    "short-iso-precise": each(
        lambda time, _, text: (
            f"2024-11-12T{clock(time)}{fraction(time)}+01:00 realm-0 kernel: {text}"
        )
    ),
    "short-monotonic": each(lambda time, _, text: f"{stamp(time)} realm-0 kernel: {text}"),
    "short-unix": each(lambda time, _, text: f"{1731405720 + time:.6f} realm-0 kernel: {text}"),
    "cat": each(lambda _, __, text: text),
    "json": each(lambda *line: json.dumps(journal(*line))),
    "json, bytes": each(
        lambda *line: json.dumps(journal(*line) | {"MESSAGE": list(line[2].encode())})
    ),
    "json-pretty": each(lambda *line: json.dumps(journal(*line), indent="        ")),
    "json-sse": each(lambda *line: f"data: {json.dumps(journal(*line))}\n"),
    "json-seq": each(lambda *line: f"\x1e{json.dumps(journal(*line))}"),
    "export": each(export),
    "verbose": each(
        lambda time, level, text: (
            f"Tue 2024-11-12 {clock(time)}.000000 CET [s=1;i=2;b=3;m=4;t=5;x=6]\n"
            f"    PRIORITY={level}\n    MESSAGE={text}"
        )
    ),
    # syslog
    "RFC 3164": before(lambda time, *_: f"Nov 12 {clock(time)} realm-0 kernel: "),
    "RFC 3164 with priority": before(
        lambda time, level, _: f"<{level}>Nov 12 {clock(time)} realm-0 kernel: "
    ),
    "RFC 5424": before(
        lambda time, level, _: (
            f"<{level}>1 2024-11-12T{clock(time)}.000000+01:00 realm-0 kernel - - - "
        )
    ),
    "RFC 5424 without printk's time": each(
        lambda time, level, text: (
            f'<{level}>1 2024-11-12T{clock(time)}Z realm-0 kernel - - [meta sequenceId="1"] {text}'
        )
    ),
    "rsyslog": before(lambda time, *_: f"2024-11-12T{clock(time)}.1+01:00 realm-0 kernel: "),
    "netconsole": each(lambda time, level, text: f"6.16.12,{level},100,{int(time * 1e6)},-;{text}"),
    "netconsole, caller": each(
        lambda time, level, text: f"6.16.12-dirty,{level},100,{int(time * 1e6)},-,caller=T1;{text}"
    ),
    # consoles, CI systems, containers
    "minicom": before(lambda time, *_: f"[2024-11-12 {clock(time)}] "),
    "tio": before(lambda time, *_: f"[{clock(time)}.123] "),
    "GitHub": before(lambda time, *_: f"2024-11-12T{clock(time)}.1234567Z "),
    "FVP": before(lambda *_: "[realm  ] "),
    "Jenkins": before(lambda time, *_: f"[2024-11-12T{clock(time)}.123Z] "),
    "LAVA": each(
        lambda time, _, text: (
            f'- {{"dt": "2024-11-12T{clock(time)}.1", "lvl": "target", "msg": '
            f"{json.dumps(f'{stamp(time)} {text}')}}}"
        )
    ),
    "docker": each(
        lambda time, _, text: json.dumps(
            {"log": f"{stamp(time)} {text}\r\n", "stream": "stdout", "time": "2024-11-12T11:02Z"}
        )
    ),
    "compose": before(lambda *_: "realm-vm-0  | "),
    "kubectl": before(lambda *_: "[pod/realm-0/console] "),
    "kata": each(
        lambda time, _, text: (
            'time="2024-11-12T10:02:01.123Z" level=debug msg="reading guest console" '
            f'name=shim-v2 pid=1 sandbox=a vmconsole="{stamp(time)} {text}"'
        )
    ),
    "libvirt": before(lambda time, *_: f"2024-11-12 {clock(time)}.123+0000: "),
    "Xen": before(lambda *_: "(XEN) (d1) "),
    # phones
    "logcat": before(lambda *_: "W/KERNEL  (    0): "),
    "logcat -v threadtime": before(
        lambda time, *_: f"11-12 {clock(time)}.123     0     0 W KERNEL  : "
    ),
    "MediaTek": each(lambda time, _, text: f"{stamp(time)}  (0)[134:irq/13-smmu]{text}"),
    "Samsung": each(lambda time, _, text: f"{stamp(time)}  [0:      swapper/0:    1] {text}"),
    "CIX": each(lambda time, _, text: f"{stamp(time)} [pid:134,cpu0,irq/13-smmu]{text}"),
    # people
    "quoted": before(lambda *_: "> > "),
    "quoted twice": before(lambda *_: ">> "),
    "wrapped mail": wrapped_mail,
    "wrapped mail, quoted": wrapped_quote,
    "mail's quoted-printable form": quoted_printable,
    "a terminal of 80 columns": cut_at_80,
    "HTML": lambda lines: (
        "<html><body><pre>\n"
        + "".join(f"{html.escape(f'{stamp(time)} {text}')}\n" for time, _, text in lines)
        + "</pre></body></html>\n"
    ),
    "HTML spans": each(
        lambda time, _, text: (
            f'<span class="time">{stamp(time)}</span> <span>{html.escape(text)}</span><br/>'
        )
    ),
    "markdown": lambda lines: (
        "It hangs:\n\n```\n"
        + "".join(f"{stamp(time)} {text}\n" for time, _, text in lines)
        + "```\nthanks\n"
    ),
    "backticks": each(lambda time, _, text: f"`{stamp(time)} {text}`"),
}
