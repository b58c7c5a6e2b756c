"""What stands in Zstandard data?"""

from __future__ import annotations

import io

MAGIC = b"\x28\xb5\x2f\xfd"


def unzstd(data: bytes, limit: int | None = None) -> bytes:
    """What does the first frame of the data unpack to; of more than `limit` bytes `limit` + 1?

    Raises:
        ValueError: it is damaged or truncated.
    """
    import zstandard

    unpacker = zstandard.ZstdDecompressor()
    try:
        if limit is None:
            return unpacker.decompressobj().decompress(data)
        return unpacker.stream_reader(io.BytesIO(data)).read(limit + 1)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error
