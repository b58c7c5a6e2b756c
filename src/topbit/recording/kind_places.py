"""Which of some kinds is each event of a recording of?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from topbit.recording.byte_table import looked_up

if TYPE_CHECKING:
    import numpy as np
    import polars
    from numpy.typing import NDArray


class KindPlaces:
    """Which place has each event's kind among some kinds?

    Nothing is made for all events at once unless all are asked for.

    Args:
        codes: the kind of each event, an Enum of up to 255 words; null: it is of none.
        kinds: which.
    """

    def __init__(self, codes: polars.Series, *kinds: str) -> None:
        import polars

        self.none = len(kinds)
        words = codes.dtype.categories.to_list() if isinstance(codes.dtype, polars.Enum) else []
        self._codes, self._missing = codes.to_physical().cast(polars.UInt8), len(words)
        places = [kinds.index(word) if word in kinds else self.none for word in words]
        self._places = [*places, self.none]

    def __len__(self) -> int:
        return len(self._codes)

    def of(self, start: int = 0, count: int | None = None) -> NDArray[np.uint8]:
        """Which place has each of these events? `none` if it is of another kind.

        Args:
            start, count: of which rows of the recording; of all if left out.
        """
        codes = self._codes.slice(start, count)
        if codes.null_count():
            codes = codes.fill_null(self._missing)
        return looked_up(codes.to_numpy(), self._places)
