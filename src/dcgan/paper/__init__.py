"""The paper's experiments on a trained model (arXiv 1511.06434, section 6), each with its picture.

Knows `networks` and `pictures`. Read `experiments` first.
"""
