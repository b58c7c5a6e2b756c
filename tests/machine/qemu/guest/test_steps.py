import subprocess

import pytest

import needs
from topbit.arch.ipa import IpaSpace
from topbit.errors import UsageError
from topbit.machine.qemu.guest import edu, steps, testdev
from topbit.machine.qemu.guest.init import INIT, plan_files
from topbit.machine.qemu.guest.steps import Step

STEPS = [
    steps.copy_blocks("nvme0n1", first=0, second=32 << 20, size=8 << 20),
    steps.read_in_parallel("vda", readers=6, size=2 << 20, span=8 << 20),
    steps.configure_network(),
    steps.send_and_receive(),
    steps.reload_module("virtio_rng"),
    steps.rebind("0000:00:02.0", 3),
    steps.unplug("0000:00:02.0"),
    edu.wild_dma("0000:00:02.0", IpaSpace(41), 3 << 40),
    edu.use_after_unbind("0000:00:02.0", "0000:00:01.0", IpaSpace(41)),
    testdev.translate("translate-test0", "0000:00:02.0", IpaSpace(41)),
    testdev.wild_dma("0000:00:03.0", IpaSpace(41), 3 << 40),
    steps.attest(bytes(range(64))),
    steps.run_command("echo 'it''s' \"$HOME\" && exit 3"),
    steps.shell(),
]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_script_is_shell(step: Step) -> None:
    """Oracle: a POSIX shell's own parser."""
    sh = needs.program("sh")
    subprocess.run([sh, "-n"], input=step.script.encode(), check=True, capture_output=True)


def test_init_is_shell() -> None:
    sh = needs.program("sh")
    subprocess.run([sh, "-n"], input=INIT.encode(), check=True, capture_output=True)


def test_steps_have_names_of_their_own() -> None:
    assert len({step.name for step in STEPS}) == len(STEPS)


def test_plan_lists_the_steps_in_order() -> None:
    files = plan_files([Step("b", "echo b", 5), Step("a", "echo a", 0)])
    assert files == {
        "topbit/plan": b"b 5\na 0\n",
        "topbit/steps/a": b"echo a",
        "topbit/steps/b": b"echo b",
    }


@pytest.mark.parametrize("name", ["", "a b", "../x", "a/b", "ä"])
def test_name_that_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="letters, digits, - and _"):
        Step(name, "")


def test_users_command_is_quoted() -> None:
    """The command reaches the shell as it was typed, whatever quotes are in it."""
    script = steps.run_command("printf '%s|' a 'b c' \"d\"; exit 3").script
    script = script.replace("/dev/console", "/dev/null").replace("/tmp/status", "status")
    done = subprocess.run(
        [needs.program("sh"), "-c", f"cd $(mktemp -d); {script}"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (3, "a|b c|d|")


def test_challenge_reaches_the_guest_byte_for_byte() -> None:
    challenge = bytes(range(256))[:64]
    quoted = steps.attest(challenge).script.split("echo -ne '")[1].split("'")[0]
    done = subprocess.run(["bash", "-c", f"echo -ne '{quoted}'"], capture_output=True, check=True)
    assert done.stdout == challenge


def test_command_line_turns_tracing_on_from_the_start() -> None:
    words = steps.command_line(extra=["nokaslr"]).split()
    assert "trace_event=dma:*,swiotlb:*" in words
    assert words[-1] == "nokaslr"
    assert not any(word.startswith("trace") for word in steps.command_line(trace=()).split())


def test_a_step_tells_how_often_it_does_the_same() -> None:
    times = {step.name: step.times for step in STEPS}
    assert times["reload-virtio-rng"] == times["rebind-0000-00-02-0"] == 3
    assert set(times.values()) == {1, 3}
    for step in (s for s in STEPS if s.times == 3):
        assert "$(seq 3)" in step.script
