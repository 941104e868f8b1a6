"""One batch from disk to two updates, and the checkpoints from which a killed training resumes.

Knows `networks`, `config` and `pictures`. It does not know MLflow: a caller that wants to watch
passes callbacks (`watching` has those of the train stage). Read `loop` first, then `step`.
"""
