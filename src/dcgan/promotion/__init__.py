"""From a trained model to the champion: the gate that decides, the registry that remembers, the folder that is served.

Knows `judging`, `networks`, `tracking` and `config`. Read `gate` first.
"""
