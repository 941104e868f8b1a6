"""Raw data sets: where each is served, what its files must be, how they become image records.

Knows `config` only. Read `dataset` first: the facts about a data set, and the form in which its
images are read. Then one of the sets, such as `svhn`; `catalog` lists them all.
"""
