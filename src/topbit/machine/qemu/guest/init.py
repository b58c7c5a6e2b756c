"""What does the guest do from its first process on, and in which form does it report?

`INIT` is the whole of /init, the same for every run; what differs lies beside it in the archive:
the modules to load and the steps of the workload. Every step runs in the background with a limit
of its own, because a device whose DMA does not work leaves its users waiting for ever.

What the guest has to say leaves it by the outbox (``host/outbox.py``), which works without any
DMA: the trace while it grows, status and output of each step when it ends, and at the end the
kernel log. Where the outbox cannot be reached (a kernel without /dev/mem, or no outbox) all of it
goes over the serial console at the end, as one bundle: a compressed tar file behind a marker line
with its length and hash, while the kernel is kept from printing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from topbit.machine.qemu.guest.outbox_program import IN_GUEST, STREAMS

MARK = "@@"
MARKER = re.compile(rf"{MARK} (\d+\.\d+) (\S+) ?(.*?)\r?$", re.MULTILINE)
"""A line of init's own: seconds since the guest's boot, a word, the rest."""
BUNDLE_BEGIN = f"{MARK} bundle begin"
ALL_DONE = f"{MARK} done"  # nothing comes after it but the power-off, which may hang
EVENTS = "topbit/events"
"""Which groups of trace events does init turn on, where the command line does not? A file."""
MODULE_LIMIT = 8  # seconds for one module: a block driver reads the disk's partition table

PARAMETERS = r"""
# parameters_of MODULE: $parameters are those that the kernel's command line has for it
parameters_of() {
    read -r words </proc/cmdline
    parameters=
    for word in $words; do
        case $word in "$1".*) parameters="$parameters ${word#*.}" ;; esac
    done
}
"""


def following(program: str) -> str:
    """Which lines let the guest's trace leave it while it grows?

    Of the shell in the folder where files to hand out are made; tracefs is mounted. ``hand_out``
    is defined then, `out_report` and `out_trace` are empty where the outbox cannot be reached, and
    `follower` is the process that follows the trace.

    Args:
        program: the outbox's program, as the shell is to call it to follow.
    """
    return rf"""tracing=/sys/kernel/tracing
grep -hv ^print $tracing/events/dma/*/format $tracing/events/swiotlb/*/format >formats
cat $tracing/events/header_page >header_page
[ ! -f /{STREAMS} ] || . /{STREAMS}
/{IN_GUEST} copy "$out_report" </dev/null 2>/dev/null || {{
    out_report= out_trace=; rm -f /{STREAMS}; }}
# hand_out FILE...: now, if the outbox can be reached
hand_out() {{
    [ ! "$out_report" ] || printf '%s\n' "$@" | /{IN_GUEST} tar "$out_report"
}}
hand_out formats header_page
if [ -f /{EVENTS} ]; then
    for group in $(cat /{EVENTS}); do echo 1 >$tracing/events/$group/enable; done
fi
follower= pipes= n=0
while [ -e $tracing/per_cpu/cpu$n ]; do
    pipes="$pipes $tracing/per_cpu/cpu$n/trace_pipe_raw" n=$((n + 1))
done
if [ "$out_trace" ]; then
    {program} follow "$out_trace" $pipes </dev/null &
    follower=$!
fi
"""


INIT = rf"""#!/bin/sh
export PATH=/bin:/sbin:/usr/bin HOME=/ TERM=linux
/bin/busybox mkdir -p /proc /sys /dev /run /tmp /topbit/out
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin
mount -t tracefs trace /sys/kernel/tracing
exec </dev/console >/dev/console 2>&1

uptime() {{ read -r now rest </proc/uptime; }}
say() {{ uptime; echo "{MARK} $now $*"; }}

# limited SECONDS NAME COMMAND...: run it in the background; $status is its exit status or "timeout"
limited() {{
    limit=$1 name=$2; shift 2
    # Without a limit in the foreground: a shell's background jobs cannot be interrupted.
    [ "$limit" != 0 ] || {{ "$@" </dev/null 4>&-; status=$?; return; }}
    rm -f "/run/$name"; mkfifo "/run/$name"; exec 3<>"/run/$name"
    # A session of its own, so that all its processes can be ended together.
    ( setsid sh -c 'echo $$ >"$0.pid"; exec "$@"' "/run/$name" "$@" 3>&- 4>&- </dev/null
      echo $? >&3 ) 2>/dev/null &
    read -r -t "$limit" status <&3 || {{
        status=timeout; kill -9 -"$(cat "/run/$name.pid")" $!; }} 2>/dev/null
    exec 3>&-
}}

{PARAMETERS}
cd /topbit/out || exit 1
{following("/" + IN_GUEST)}
reporter=
if [ "$out_report" ]; then  # one program for all: to start one takes longer than what it does
    mkfifo /run/names
    /{IN_GUEST} tar "$out_report" </run/names &
    reporter=$!
    exec 4>/run/names
fi
# report FILE...: soon, if the outbox can be reached
report() {{
    [ "$reporter" ] || return 0
    {{ kill -0 $reporter && printf '%s\n' "$@" >&4; }} 2>/dev/null || hand_out "$@"
}}
say "boot $(uname -r) cpus $(nproc)"
while read -r module; do
    parameters_of "$module"
    limited {MODULE_LIMIT} "module-$module" insmod "/topbit/modules/$module.ko" $parameters
    [ "$status" = 0 ] || say "module $module $status"
done </topbit/modules/order
say "ready"

while read -r step limit; do
    say "step $step start"; begun=$now
    limited "$limit" "$step" sh -c "cd /; sh /topbit/steps/$step >/topbit/out/$step.log 2>&1"
    uptime; echo "$status $begun $now" >"/topbit/out/$step.status"
    report "$step".*
    say "step $step exit $status"
done </topbit/plan

echo 0 >/sys/kernel/tracing/tracing_on
[ ! "$follower" ] || kill -USR1 $follower 2>/dev/null  # it ends while the log is written
echo 1 >/proc/sys/kernel/printk
dmesg >dmesg.txt
if [ "$follower" ]; then
    wait $follower
    for cpu in $tracing/per_cpu/cpu*; do
        while read -r line; do echo "$line"; done <$cpu/stats >${{cpu##*/}}.stats
    done
    report dmesg.txt cpu*.stats ''
    wait $reporter
    echo; echo "{ALL_DONE}"
    poweroff -f
    sleep 1000
fi
# The trace as it stands in memory: to make its text takes the guest a second and more.
readers=
for cpu in $tracing/per_cpu/cpu*; do
    dd if=$cpu/trace_pipe_raw of=${{cpu##*/}}.raw bs=4096 2>/dev/null &
    readers="$readers $!"  # it waits for more when all is read
done
for cpu in $tracing/per_cpu/cpu*; do
    n=500  # 5 seconds
    until grep -q '^entries: 0$' $cpu/stats || [ $n = 0 ]; do usleep 10000; n=$((n - 1)); done
    cat $cpu/stats >${{cpu##*/}}.stats
done
usleep 10000
kill $readers
tar -c -f /run/bundle.tar .
gzip -1 /run/bundle.tar
size=$(wc -c </run/bundle.tar.gz) sum=$(sha256sum </run/bundle.tar.gz)
echo; echo "{BUNDLE_BEGIN} $size ${{sum%% *}}"
stty -opost  # every byte as it is
cat /run/bundle.tar.gz
echo; echo "{ALL_DONE}"
poweroff -f
sleep 1000
"""


class PlannedStep(Protocol):
    """What must a step say to be run in the guest?"""

    @property
    def name(self) -> str:
        """Its file name in the guest."""

    @property
    def script(self) -> str:
        """What the guest's shell runs."""

    @property
    def limit(self) -> int:
        """Seconds after which it is given up; 0 for never."""


def plan_files(steps: Sequence[PlannedStep]) -> dict[str, bytes]:
    """Which files of the initramfs make `INIT` run these steps, in this order?"""
    files = {f"topbit/steps/{step.name}": step.script.encode() for step in steps}
    plan = "".join(f"{step.name} {step.limit}\n" for step in steps)
    return {**files, "topbit/plan": plan.encode()}
