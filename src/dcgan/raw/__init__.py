"""Raw data sets: where each is served, what its files must be, how they become image records.

Knows `config` only. Read `dataset` first: what is known of every data set, and what its images look
like to the rest of the project. Then one of the sets, `svhn` say; `catalog` lists them all.
"""
