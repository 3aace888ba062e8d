"""One module a contender: heavy imports at the top, and ``run(job)``, which does the work once.

A module is imported before the clock starts, so that its seconds are work only; the seconds of the whole
process are given beside them.
"""
