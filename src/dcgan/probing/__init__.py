"""The linear L2-SVM on the discriminator's features (arXiv 1511.06434, section 5).

Knows `networks`, `judging` and `config`. Read `probe` first.
"""
