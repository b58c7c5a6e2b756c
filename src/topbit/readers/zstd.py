"""What stands in Zstandard data?"""

from __future__ import annotations

import importlib
import io
from typing import Any

from topbit.errors import InputError

MAGIC = b"\x28\xb5\x2f\xfd"


def unzstd(data: bytes, limit: int | None = None) -> bytes:
    """What does the data unpack to; of more than `limit` bytes only `limit` + 1?

    Raises:
        ValueError: it is damaged or truncated.
        InputError: this Python cannot unpack it.
    """
    # In the standard library from Python 3.14 on; `zstandard` is what others have installed.
    for module in ("compression.zstd", "zstandard"):
        try:
            zstd = importlib.import_module(module)
        except ImportError:
            continue
        try:
            if module == "zstandard":
                return _with_zstandard(zstd, data, limit)
            if limit is None:
                return bytes(zstd.decompress(data))
            return bytes(zstd.ZstdDecompressor().decompress(data, limit + 1))
        except (zstd.ZstdError, EOFError) as error:
            raise ValueError(str(error)) from error
    raise InputError(
        "is compressed with Zstandard, which this Python cannot unpack",
        mend="pip install zstandard",
    )


def _with_zstandard(zstd: Any, data: bytes, limit: int | None) -> bytes:
    unpacker = zstd.ZstdDecompressor()
    if limit is None:
        return bytes(unpacker.decompressobj().decompress(data))
    return bytes(unpacker.stream_reader(io.BytesIO(data)).read(limit + 1))
