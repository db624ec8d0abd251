"""What was computed lately, within so many bytes."""

from hypothesis import given
from hypothesis import strategies as st

from network.recent import LARGEST_SHARE, Recent, chained, fitted_key
from tests.small_network import Small

keys = st.sampled_from("abcdefgh")


@given(st.lists(st.tuples(keys, st.integers(0, 60)), max_size=40), st.integers(0, 100))
def test_it_never_holds_more_than_it_may(kept, most):
    recent: Recent[str] = Recent(most)
    for key, nbytes in kept:
        recent.keep(key, key, nbytes)
        assert recent.kept_bytes <= most
        assert all(recent.get(each) in (None, each) for each in "abcdefgh")


def test_the_longest_unused_goes_first():
    recent: Recent[int] = Recent(100)
    for number, key in enumerate("abcd"):
        recent.keep(key, number, 25)
    assert recent.get("a") == 0
    recent.keep("e", 4, 25)
    assert [recent.get(each) for each in "abcde"] == [0, None, 2, 3, 4]


def test_what_would_push_out_all_others_is_not_kept():
    recent: Recent[int] = Recent(100)
    recent.keep("large", 1, 100 // LARGEST_SHARE + 1)
    assert recent.get("large") is None
    assert not recent.welcomes(26)


def test_a_key_tells_parameters_and_everything_ahead_apart(small: Small):
    variants = {each.key: small.known.fitted(each) for each in small.known.variants["conv2"]}
    assert len({fitted_key(each) for each in variants.values()}) == len(variants)
    again = small.known.fitted(small.known.variants["conv2"][0])
    assert fitted_key(again) == fitted_key(next(iter(variants.values())))
    assert chained("a", behind=("b",)) != chained("a", behind=("c",))
    assert chained("a", "b") == chained("a", behind=("b",))
