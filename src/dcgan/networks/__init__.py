"""The two networks, the images they make, and the files that hold them.

Knows no other package. Read `models` first.
"""
