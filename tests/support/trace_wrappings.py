r"""What tools put around ftrace's events: each gives the text of (time in µs, event, body)."""

from __future__ import annotations

import html
import json
import quopri
import re
from collections.abc import Callable
from typing import TypeAlias

Entry: TypeAlias = tuple[int, str, str]
Dialect: TypeAlias = Callable[[list[Entry]], str]

ENTRIES: list[Entry] = [
    (
        4100001,
        "dma_alloc",
        "0000:00:02.0 dir=BIDIRECTIONAL dma_addr=10097001000 size=4096 "
        "virt_addr=00000000c0ffee00 flags=GFP_KERNEL attrs=",
    ),
    (
        4100051,
        "swiotlb_bounced",
        "dev_name: 0000:00:02.0 dma_mask=ffffffffffffffff dev_addr=8463dc000 size=4096 FORCE",
    ),
    (
        4100101,
        "dma_map_phys",
        "0000:00:02.0 dir=FROM_DEVICE dma_addr=10097002000 size=4096 phys_addr=8463dc000 attrs=",
    ),
    (
        4100151,
        "dma_map_sg",
        "0000:00:02.0 dir=TO_DEVICE nents=2/2 ents=2/2 dma_addrs={0x10097003000,0x10097004000} "
        "sizes={0x1000,0x800} phys_addrs={0x846300000,0x846500000} attrs=SKIP_CPU_SYNC|NO_WARN",
    ),
    (
        4100201,
        "dma_map_phys",
        "0000:00:01.0 dir=FROM_DEVICE dma_addr=97009000 size=4096 phys_addr=846600000 attrs=",
    ),
    (
        4100251,
        "dma_unmap_phys",
        "0000:00:02.0 dir=FROM_DEVICE dma_addr=10097002000 size=4096 attrs=",
    ),
    (4100301, "dma_sync_single_for_cpu", "0000:00:02.0 dir=FROM_DEVICE dma_addr=97009000 size=64"),
    (
        4100351,
        "map",
        "IOMMU: iova=0x0000010097002000 - 0x0000010097003000 paddr=0x0000000884570000 size=4096",
    ),
    (
        4100401,
        "unmap",
        "IOMMU: iova=0x0000010097002000 - 0x0000010097003000 size=4096 unmapped_size=4096",
    ),
]
SYSTEMS = {"swiotlb_bounced": "swiotlb", "map": "iommu", "unmap": "iommu"}


def seconds(time: int) -> str:
    return f"{time // 1_000_000}.{time % 1_000_000:06}"


def system(name: str) -> str:
    return SYSTEMS.get(name, "dma")


def each(form: Callable[[int, str, str], str]) -> Dialect:
    """The dialect that gives every event a line of its own."""
    return lambda entries: "".join(form(*entry) + "\n" for entry in entries)


def ftrace(time: int, name: str, body: str) -> str:
    return f"     kworker/0:1-22      [000] d..2.   {seconds(time)}: {name}: {body}"


def named(body: str) -> str:
    """The body as `perf trace` prints a tracepoint's fields."""
    fields = [f'device: "{body.split()[0]}"'] if "=" not in body.split()[0] else []
    for key, value in re.findall(r"(\w+)=(\S*)", body):
        if key.endswith("_addr") and key != "virt_addr":
            value = str(int(value, 16))
        if key == "attrs":
            value = value or "0"
        if key not in ("flags", "virt_addr"):
            fields.append(f"{key}: {value}")
    return ", ".join(fields)


def wrapped(entries: list[Entry]) -> str:
    out: list[str] = []
    for entry in entries:
        line = ftrace(*entry)
        while len(line) > 80:
            at = line.rfind(" ", 40, 80)
            if at < 0:
                break
            out.append(line[:at])
            line = line[at + 1 :]
        out.append(line)
    return "\n".join(out) + "\n"


DIALECTS: dict[str, Dialect] = {
    "trace": each(ftrace),
    "CR LF": each(lambda *entry: ftrace(*entry) + "\r"),
    "tgid column": each(
        lambda time, name, body: (
            f"     kworker/0:1-22      (     22) [000] d..2.   {seconds(time)}: {name}: {body}"
        )
    ),
    "trace-cmd report": each(
        lambda time, name, body: (
            f"     kworker/0:1-22    [000]  {seconds(time)}: {f'{name}:':<21} {body}"
        )
    ),
    "trace-cmd report -t": each(
        lambda time, name, body: (
            f"     kworker/0:1-22    [000]  {seconds(time)}000: {f'{name}:':<21} {body}"
        )
    ),
    "trace-cmd report, several files": each(
        lambda time, name, body: (
            f"trace.dat:      kworker/0:1-22    [000]  {seconds(time)}: {f'{name}:':<21} {body}"
        )
    ),
    "trace-cmd report -l": each(
        lambda time, name, body: f"   kworke-22      0d..2.  {seconds(time)}: {name}: {body}"
    ),
    "with the trace system": each(
        lambda time, name, body: (
            f"     kworker/0:1-22    [000] d..2.  {seconds(time)}: {system(name)}:{name}: {body}"
        )
    ),
    "perf script": each(
        lambda time, name, body: (
            f"kworker/0:1    22 [000]     {seconds(time)}: {f'{system(name)}:{name}':>20}: {body}"
        )
    ),
    "perf script -F +ns": each(
        lambda time, name, body: (
            f"kworker/0:1    22 [000]     {seconds(time)}000: {system(name)}:{name}: {body}"
        )
    ),
    "latency tracer": each(
        lambda time, name, body: f"kworker/-22        0d..2. {time}us : {name}: {body}"
    ),
    "latency tracer, marked": each(
        lambda time, name, body: f"kworker/-22        0d..2. {time}us+: {name}: {body}"
    ),
    "ftrace_dump_on_oops": each(
        lambda time, name, body: (
            f"[   12.345678] kworker/-22        0d..2. {time}us : {name}: {body}"
        )
    ),
    "tp_printk": each(lambda time, name, body: f"[    {seconds(time)}] {name}: {body}"),
    "systrace": each(
        lambda time, name, body: (
            f"     kworker/0:1-22    (-----) [000] d..2   {seconds(time)}: {name}: {body}"
        )
    ),
    "perfetto's HTML": each(lambda *entry: ftrace(*entry) + " \\n\\"),
    "HTML": each(lambda *entry: html.escape(ftrace(*entry)) + "<br>"),
    "quoted mail": each(lambda *entry: "> > " + ftrace(*entry)),
    "wrapped mail": wrapped,
    "mail's quoted-printable form": lambda entries: quopri.encodestring(
        DIALECTS["trace"](entries).encode()
    ).decode(),
    "JSON lines": each(lambda *entry: json.dumps({"stream": "stdout", "log": ftrace(*entry)})),
    "a console's time": each(lambda *entry: "[2024-11-12 11:02:00] " + ftrace(*entry)),
    "KernelShark's CSV": each(
        lambda time, name, body: f'0,kworker/0:1,22,{seconds(time)},d..2,{name},"{body}"'
    ),
    "babeltrace": each(
        lambda time, name, body: (
            f"[11:02:0{seconds(time)}000] (+0.000050000) host0 {name}: "
            f"{{ cpu_id = 0 }}, {{ {body} }}"
        )
    ),
    "uptime clock": each(
        lambda time, name, body: f"     kworker/0:1-22      [000] d..2.   4.10: {name}: {body}"
    ),
    "counter clock": each(
        lambda time, name, body: f"     kworker/0:1-22      [000] d..2.   {time}: {name}: {body}"
    ),
    "no prefix": each(lambda time, name, body: f"{name}: {body}"),
}
PERF_TRACE: Dialect = each(
    lambda time, name, body: (
        f" {time / 1000:.3f} kworker/0:1/22 {system(name)}:{name}({named(body)})"
    )
)
