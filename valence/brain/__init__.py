"""Stage brain: band features and a target in, correlations with nulls, ceilings and maps out.

A cohort (`valence.brain.cohort`) is what all analyses read, a row (`valence.brain.rows`) what all of them write. Each
analysis is a file with a function `rows(cohort, target, …) -> list[Row]`; none of them knows another.
"""
