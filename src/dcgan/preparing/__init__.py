"""From raw records to the prepared folder: decoded, resized, split, without copies, in memory-mapped arrays.

Knows `raw`, `config` and `pictures`. Read `preparation` first.
"""
