"""The two networks, the images they make, and the files that hold them.

Knows no other package: not how networks are trained, and not params.yaml. Read `architecture`
first, then `models`; `exports` has the format of the files.
"""
