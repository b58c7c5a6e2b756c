"""Errors carry their data and print as one line."""

from topbit.errors import InputError, MissingToolError, UsageError, nearest


def test_one_line_with_place_and_mend() -> None:
    error = InputError("is empty", where="trace.txt", mend="record again")
    assert str(error) == "trace.txt: is empty (record again)"
    assert (error.what, error.where, error.mend) == ("is empty", "trace.txt", "record again")


def test_exit_status() -> None:
    assert UsageError("x").exit_status == 2
    assert InputError("x").exit_status == 2
    assert MissingToolError("x").exit_status == 3


def test_nearest() -> None:
    assert nearest("smmu_mpa", ["smmu_map", "name"]) == "did you mean 'smmu_map'?"
    assert nearest("zzz", ["b", "a"]) == "known: a, b"
