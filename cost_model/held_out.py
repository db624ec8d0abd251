"""Which keys are left out: by a hash of the key, so that neither order nor later keys change the draw."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b


def draw(key: str, seed: int, purpose: str) -> float:
    """A number from 0 (included) to 1 (excluded) that depends on nothing but its arguments.

    Draws for different purposes are independent: what was held out once does not empty a later draw's folds.
    """
    digest = blake2b(
        key.encode(), digest_size=8, salt=seed.to_bytes(8, "little"), person=purpose.encode()
    ).digest()
    # A float has 53 bits: with all 64 the largest would round up to 1.
    return (int.from_bytes(digest, "little") >> 11) / 2**53


def select_held_out(keys: Iterable[str], share: float, seed: int) -> frozenset[str]:
    """About ``share`` of the keys, 0 to 1: those not to measure but to predict.

    A key stays in or out whatever other keys there are; a larger share holds out the same keys and more.
    """
    return frozenset(key for key in keys if draw(key, seed, "predict") < share)
