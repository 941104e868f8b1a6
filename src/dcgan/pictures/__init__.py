"""Pictures for people: grids, GIFs and plots, from arrays to PNG and GIF files.

Knows no other package. Read `grids` first.
"""
