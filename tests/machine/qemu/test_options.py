"""Options of the QEMU machine, and what is said where they cannot be."""

import pytest

from topbit.errors import UsageError
from topbit.machine.qemu.options import QemuOptions, refuse, require_known


def test_an_option_that_is_none_is_a_wrong_keyword() -> None:
    require_known({"kernel": "7.3", "gdb": True})
    with pytest.raises(TypeError, match="unexpected keyword argument 'kernl'"):
        require_known({"kernl": "7.3"})  # type: ignore[typeddict-unknown-key]


@pytest.mark.parametrize(
    ("options", "flag"),
    [({"cpus": 0}, "--cpus"), ({"command": "ls"}, "--run"), ({"rootfs_write": True}, "--rootfs-w")],
)
def test_the_model_machine_has_none(options: QemuOptions, flag: str) -> None:
    refuse({})
    with pytest.raises(UsageError, match=rf"^{flag}.*the model machine .*--machine qemu"):
        refuse(options)
