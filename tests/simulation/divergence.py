from __future__ import annotations


class Divergence(AssertionError):  # noqa: N818 - it names what was found
    """Something that must hold does not; the text says what, with a few examples."""
