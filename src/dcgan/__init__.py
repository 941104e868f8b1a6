"""A DCGAN pipeline's library, a package a job; it knows no DVC and no command line.

Ground files, which every package may import and which import no package: `errors`, `files`, `rng`,
`progress`, `data`, `validation`. Which package may import which is the table `tool.importlinter` in
pyproject.toml.
"""
