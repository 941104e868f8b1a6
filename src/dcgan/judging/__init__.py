"""How good a set of generated images is: a frozen extractor's features, and figures of them.

Knows `networks`. Read `figures` first, what each is called and means; then `evaluation`, how a
checkpoint is chosen and reported; then `comparison` and `sample`, what they stand on.
"""
