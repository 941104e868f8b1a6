"""One batch from disk to two updates, and the checkpoints from which a killed training goes on.

Knows `networks`, `config` and `pictures`; who wants to watch passes a callback. Read `loop` first,
then `step`.
"""
