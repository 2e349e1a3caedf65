"""Several budgets on one pod: one decides, and always the same."""

from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.budgets.strictest import Candidate, strictest
from carbonbudget_operator.budgets.verdict import Action, State

candidates = st.lists(
    st.builds(
        Candidate,
        st.sampled_from(["/all", "team-a/daily", "team-a/monthly"]),
        st.sampled_from(Action),
        st.sampled_from(State),
        st.integers(0, 300),
    )
)


def test_what_it_does_counts_before_how_much_is_used() -> None:
    blocking = Candidate("team-a/monthly", Action.BLOCK, State.EXCEEDED, 100)
    warning = Candidate("team-a/daily", Action.WARN, State.EXCEEDED, 250)
    assert strictest([warning, blocking]) == blocking
    assert strictest([]) is None


@given(candidates)
def test_the_order_of_budgets_does_not_matter_and_none_is_stricter(found: list[Candidate]) -> None:
    first = strictest(found)
    assert strictest(reversed(found)) == first
    assert first is None or all(other.action <= first.action for other in found)
