"""A DCGAN pipeline's library, a package a job; it runs no DVC and has no command line.

Ground files, on which the packages stand and which import no package: `errors`, `files`, `rng`,
`redaction`, `progress`, `data`, `validation`. Which of them, and which package, a package may
import is the table `tool.rooms` in pyproject.toml. docs/architecture.md has the way through all.
"""
