"""Send to MLflow what waits in the journal."""

from collections import Counter

from dcgan.errors import EnvironmentProblem
from dcgan.tracking import journal, sending, store
from pipeline import cli


def main() -> None:
    """Send to MLflow what waits in the journal: python -m pipeline sync.

    Exit code 6 where the store does not take it.
    """
    waiting = any(
        session.waiting()
        for run in journal.runs(store.journals())
        for session in journal.sessions(run)
    )
    if not waiting:
        print(f"sync: nothing waits to be sent to {store.shown()}")
        return
    client = store.connect()
    sent: Counter[str] = Counter()
    problem = ""
    for run in journal.runs(store.journals()):
        sender = sending.Sender(run, store.location())
        try:
            sender.send(client)
        # Whatever MLflow, SQLAlchemy or requests raise; another run's journal may still be sent.
        except Exception as error:
            problem = f"{run.name}: {store.one_line(error)}"
        sent.update(runs=int(sender.progress > 0), points=sender.points, files=sender.files)
    left = [
        session.waiting()
        for run in journal.runs(store.journals())
        for session in journal.sessions(run)
    ]
    entries = f"{sum(left)} entries still wait"
    where = store.shown()
    print(
        f"sync: {sent['runs']} runs, {sent['points']} points, {sent['files']} files"
        f" sent to {where}; {entries}"
    )
    if problem:
        raise EnvironmentProblem(
            f"sync: MLflow store {where} failed ({problem}): {entries}: run sync again later"
        )


if __name__ == "__main__":
    cli.run(main)
