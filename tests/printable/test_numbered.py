"""A number and its noun agree."""

from carbonbudget_operator.printable import numbered


def test_one_thing_is_singular_and_no_thing_and_several_are_plural() -> None:
    words = [numbered(number, "row is", "rows are") for number in (0, 1, 2, 21)]
    assert words == ["0 rows are", "1 row is", "2 rows are", "21 rows are"]
