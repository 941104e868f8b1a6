"""From raw records to the prepared folder: images decoded, resized, split, without copies.

Knows `raw`, `config` and `pictures`. Read `preparation` first.
"""
