import pytest

from topbit.machine.qemu.guest.ktap import read_ktap

KUNIT = """KTAP version 1
1..2
  KTAP version 1
  1..2
  ok 1 first
  not ok 2 second # SKIP
ok 1 suite
not ok 2 - another # of them
"""


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("", None),
        ("ok 1 looks like one\n", None),
        (KUNIT, "2 tests, 1 failed: another"),
        (
            "noise\nTAP version 13\n1..1\nok 1 - selftests: dma: map # time=5ms\n",
            "1 tests, 0 failed",
        ),
        ("TAP version 13\r\nnot ok 1 a\r\nok 2 b\r\n", "2 tests, 1 failed: a"),
        (
            "TAP version 13\nnot ok 1 a # SKIP no device\nnot ok 2 b # XFAIL x\n",
            "2 tests, 0 failed",
        ),
        ("TAP version 13\nnot ok 1\n", "1 tests, 1 failed: a test without a name"),
        ("TAP version 13\n# not ok 1 of a subtest\nnot okay 1\n", "0 tests, 0 failed"),
    ],
)
def test_which_tests_failed(output: str, told: str | None) -> None:
    tests = read_ktap(output)
    assert (tests and str(tests)) == told
