"""Raw data sets: where each is served, what its files must be, how they become image records.

Knows `config` only. Read `records` first: what every data set looks like to the rest of the
project.
"""
