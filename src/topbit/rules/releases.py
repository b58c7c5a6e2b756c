"""What does the guest's kernel do, going by its release?"""

from __future__ import annotations

from topbit.addressing.kernel_policy import KernelPolicy, policy_for
from topbit.errors import UsageError
from topbit.recording import Platform


def policy_of(platform: Platform) -> KernelPolicy | None:
    """Which conventions does the guest's kernel keep? None if its release is not known."""
    if platform.kernel is None:
        return None
    try:
        return policy_for(platform.kernel)
    except UsageError:
        return None
