"""Take the alias `champion` back from a version that turned out bad."""

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline import cli

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dcgan.promotion.registry import Move


def main(
    reason: Annotated[str, typer.Option(help="Why, for those who come after.")],
    to: Annotated[
        int | None,
        typer.Option(help="Version to go to. Default: the champion before this one.", min=1),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Whose champion: NAME of dcgan-NAME. Default: dataset.title.")
    ] = None,
) -> None:
    """Make the previous champion the champion again.

    Example: python -m pipeline rollback --reason "grey images".
    """
    from dcgan import errors
    from dcgan.config import reading, sections
    from dcgan.promotion import registry
    from dcgan.raw import catalog

    if not reason.strip():
        raise errors.ConfigError("rollback: --reason is empty: say why, for those who come after")
    name = dataset or catalog.title(reading.load(sections.AllParams).dataset)
    champion = registry.alias(name, "champion")
    if champion is None:
        raise errors.NoCheckpoint(
            f"rollback: {registry.model_name(name)} has no champion:"
            " python -m pipeline promote makes one"
        )
    target = to or before(registry.history(name), champion.number)
    if target is None:
        raise errors.NoCheckpoint(
            f"rollback: version {champion.number} of {champion.name} is the first champion,"
            " none was before it: give --to"
        )
    if target == champion.number:
        raise errors.ConfigError(
            f"rollback: --to {target}: is the champion already: give another version"
        )
    note, expected = f"{registry.ROLLED_BACK}{reason.strip()}", champion.number
    registry.set_alias(name, "champion", target, note, expected=expected, kind="rolled back")
    print(
        f"rollback: version {target} of {champion.name} is the champion again,"
        f" version {champion.number} no more: {reason.strip()}"
    )


def before(moves: "Sequence[Move]", current: int) -> int | None:
    """The champion before the current one: a second rollback in a row does not undo the first.

    Args:
        moves: newest first, as `registry.history` has them. Some may be noted and not made, others
            made by hand and not noted.
        current: the version that the alias points at.

    Returns:
        The version, None where the current one is the first.
    """
    champions: list[int] = []

    def stands_at(version: int) -> None:
        # The version from which the next move took the alias counts more than the notes before it.
        if version not in champions:
            champions.append(version)
        while champions[-1] != version:
            champions.pop()

    for move in reversed(moves):
        if move.before is not None:
            stands_at(move.before)
        if move.kind == "rolled back":
            stands_at(move.version)
        else:
            champions.append(move.version)
    stands_at(current)
    return champions[-2] if len(champions) > 1 else None


if __name__ == "__main__":
    cli.run(main)
