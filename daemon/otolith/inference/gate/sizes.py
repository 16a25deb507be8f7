"""Sizes: how long an axis can become, whatever the number of streams and frames in a step.

An `Extent` is a polynomial in both, such as `frames + 12`; its `Bound` is one term that it never exceeds where there is
at least one of each. The gate keeps every tensor's bound linear in both, so memory grows with what is put in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

Term = tuple[int, int]  # powers of streams and of frames
ONE: Term = (0, 0)


class Bound(NamedTuple):
    """At most `factor * streams**by_streams * frames**by_frames`."""

    factor: int
    by_streams: int
    by_frames: int


class Extent(NamedTuple):
    """How long an axis is, or, where that hangs on more than shapes (not `is_exact`), how long it is at most."""

    terms: Mapping[Term, int]
    is_exact: bool = True

    @property
    def constant(self) -> int | None:
        """The length, where it is always the same and known."""
        return self.terms.get(ONE, 0) if self.is_exact and self.terms.keys() <= {ONE} else None

    @property
    def bound(self) -> Bound:
        """Never exceeded, and never below 1, so that an empty axis hides no long ones."""
        terms = [term for term, factor in self.terms.items() if factor > 0] or [ONE]
        factor = sum(factor for factor in self.terms.values() if factor > 0)
        return Bound(max(1, factor), max(term[0] for term in terms), max(term[1] for term in terms))

    @property
    def loose(self) -> Extent:
        """The same as an upper bound alone."""
        return Extent({term: factor for term, factor in self.terms.items() if factor > 0}, is_exact=False)

    def plus(self, other: Extent) -> Extent:
        """The sum."""
        terms = {term: self.terms.get(term, 0) + other.terms.get(term, 0) for term in {**self.terms, **other.terms}}
        return Extent(terms, self.is_exact and other.is_exact)

    def times(self, other: Extent) -> Extent:
        """The product."""
        terms: dict[Term, int] = {}
        for (streams, frames), factor in self.terms.items():
            for (more_streams, more_frames), more in other.terms.items():
                term = (streams + more_streams, frames + more_frames)
                terms[term] = terms.get(term, 0) + factor * more
        return Extent(terms, self.is_exact and other.is_exact)

    def less(self, taken: int) -> Extent:
        """What is left of an axis behind its first `taken` places; exact where there are always so many."""
        left = self.plus(length(-taken))
        always = sum(left.terms.values()) >= 0 and all(f >= 0 for term, f in left.terms.items() if term != ONE)
        return left if always else left.loose

    def over(self, divisor: int) -> Extent:
        """Divided, and rounded up."""
        if all(factor % divisor == 0 for factor in self.terms.values()):
            return Extent({term: factor // divisor for term, factor in self.terms.items()}, self.is_exact)
        return Extent(
            {term: -(-factor // divisor) for term, factor in self.terms.items() if factor > 0}, is_exact=False
        )

    def longer(self, other: Extent) -> Extent:
        """No shorter than either."""
        terms = {term: max(self.terms.get(term, 0), other.terms.get(term, 0)) for term in {**self.terms, **other.terms}}
        return Extent(terms, is_exact=False)


def length(count: int) -> Extent:
    """An axis that is always of that length."""
    return Extent({ONE: count})


STREAMS = Extent({(1, 0): 1})
FRAMES = Extent({(0, 1): 1})


def product(extents: Iterable[Extent]) -> Extent:
    """How many values axes span."""
    whole = length(1)
    for extent in extents:
        whole = whole.times(extent)
    return whole


def bound_of(extents: Iterable[Extent]) -> Bound:
    """At most how many values axes span."""
    factor, by_streams, by_frames = 1, 0, 0
    for bound in (extent.bound for extent in extents):
        factor, by_streams, by_frames = (
            factor * bound.factor,
            by_streams + bound.by_streams,
            by_frames + bound.by_frames,
        )
    return Bound(factor, by_streams, by_frames)
