"""How good a set of generated images is: a frozen extractor's features, and figures computed of them.

Knows `networks`. Read `evaluation` first, then `comparison`.
"""
