"""What does a CPU that hit nothing say?"""

from topbit.arch.ipa import Ipa
from topbit.linux.cpu import SynchronousExternalAbort


def test_an_abort_names_the_whole_address() -> None:
    abort = SynchronousExternalAbort(Ipa(0x80_4000_0123))
    assert str(abort) == "synchronous external abort at IPA 0x0000008040000123"
    assert abort.ipa == 0x80_4000_0123
