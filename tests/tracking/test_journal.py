"""What a run logs is on the disk first, survives a kill, and is gone once it is sent."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dcgan.tracking import journal
from dcgan.tracking.journal import Session, Writer
from tests.support.imports import ROOT


def read(session: Session) -> list[dict]:
    return [entry for entry, _ in session.unsent()]


def the_session(root: Path) -> Session:
    (run,) = journal.runs(root)
    (session,) = journal.sessions(run)
    return session


def test_entries_come_back_in_order_each_with_a_later_time(tmp_path: Path) -> None:
    writer = Writer(tmp_path, "aa")
    for number in range(100):
        writer.append("tags", tags={"number": number})
    entries = read(the_session(tmp_path))
    assert [entry["tags"]["number"] for entry in entries] == list(range(100))
    times = [entry["at"] for entry in entries]
    assert times == sorted(set(times))


def test_what_is_marked_is_not_read_again_and_a_lost_mark_loses_nothing(tmp_path: Path) -> None:
    writer = Writer(tmp_path, "aa")
    for number in range(3):
        writer.append("tags", tags={"number": number})
    session = the_session(tmp_path)
    _, second = [sent for _, sent in session.unsent()][:2]
    session.mark(second)
    assert [entry["tags"]["number"] for entry in read(session)] == [2] and session.waiting() == 1
    (session.folder / "sent").write_text("no number")
    assert session.waiting() == 3


def test_points_that_follow_each_other_are_read_as_one_entry(tmp_path: Path) -> None:
    writer = Writer(tmp_path, "aa")
    writer.append("open")
    for step in range(5):
        writer.append("points", points=[("a", step, 1.0), ("b", step, 2.0)], replace=False)
    writer.append("tags", tags={})
    writer.append("points", points=[("a", 5, 1.0)], replace=True)
    entries = list(journal.merged(the_session(tmp_path).unsent(), 4))
    operations = [entry["op"] for entry, _ in entries]
    assert operations == ["open", "points", "points", "points", "tags", "points"]
    assert [len(entry["points"]) for entry, _ in entries if entry["op"] == "points"] == [4, 4, 2, 1]
    key, step, value, _, replaces = entries[-1][0]["points"][0]
    assert (key, step, value, replaces) == ("a", 5, 1.0, True)
    offsets = [sent for _, sent in entries]
    assert offsets == sorted(offsets)
    assert offsets[-1] == (the_session(tmp_path).folder / "entries.jsonl").stat().st_size


@pytest.mark.parametrize("cut", [1, 10, 30])
def test_a_line_that_a_kill_cut_short_is_left_out_and_the_next_is_whole(
    tmp_path: Path, cut: int
) -> None:
    writer = Writer(tmp_path, "aa")
    writer.append("tags", tags={"number": 1})
    writer.append("tags", tags={"number": 2})
    path = the_session(tmp_path).folder / "entries.jsonl"
    os.truncate(path, path.stat().st_size - cut)
    assert [entry["tags"]["number"] for entry in read(the_session(tmp_path))] == [1]
    writer.append("tags", tags={"number": 3})
    # Without its newline alone, the second is whole again.
    assert [entry["tags"]["number"] for entry in read(the_session(tmp_path))] == (
        [1, 2, 3] if cut == 1 else [1, 3]
    )


def test_garbage_between_entries_is_skipped(tmp_path: Path) -> None:
    writer = Writer(tmp_path, "aa")
    writer.append("tags", tags={"number": 1})
    with open(the_session(tmp_path).folder / "entries.jsonl", "ab") as file:
        file.write(b"\xff\x00\n[1]\n{}\nnull\n")
    writer.append("tags", tags={"number": 2})
    assert [entry["tags"]["number"] for entry in read(the_session(tmp_path))] == [1, 2]


def test_a_session_lives_as_long_as_its_process(tmp_path: Path) -> None:
    script = """if True:
        import sys
        from pathlib import Path
        from dcgan.tracking.journal import Writer

        writer = Writer(Path(sys.argv[1]), "aa")
        writer.append("open")
        print("ready", flush=True)
        sys.stdin.read()
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout and process.stdout.readline() == b"ready\n"
    session = the_session(tmp_path)
    assert session.alive()
    session.close_if_killed()
    assert not session.ended()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not session.alive()
    session.close_if_killed()
    session.close_if_killed()
    assert [entry["op"] for entry in read(session)] == ["open", "close"]
    assert read(session)[-1]["status"] == "KILLED"


def test_a_session_that_said_how_it_ended_is_not_marked_as_killed(tmp_path: Path) -> None:
    writer = Writer(tmp_path, "aa")
    writer.append("close", status="FINISHED")
    writer.close()
    session = the_session(tmp_path)
    session.close_if_killed()
    assert [entry["status"] for entry in read(session)] == ["FINISHED"]


def test_a_lock_has_one_holder_and_a_deleted_one_does_not_count(tmp_path: Path) -> None:
    with journal.lock(tmp_path, wait=False) as first:
        assert first
        with journal.lock(tmp_path, wait=False) as second:
            assert not second
        (tmp_path / "lock").unlink()
        with journal.lock(tmp_path, wait=False) as new, journal.lock(tmp_path, wait=False) as other:
            assert new and not other
    with journal.lock(tmp_path, wait=False) as free:
        assert free


def test_one_that_waits_for_a_lock_does_not_get_a_file_that_was_deleted(tmp_path: Path) -> None:
    run, held = tmp_path / "run", threading.Event()
    run.mkdir()

    def wait_for_it() -> None:
        with journal.lock(run, wait=True) as is_held:
            assert is_held and (run / "lock").exists()
            held.set()

    with journal.lock(run, wait=True):
        thread = threading.Thread(target=wait_for_it)
        thread.start()
        assert not held.wait(0.2)
        (run / "lock").unlink()
    thread.join()
    assert held.is_set()


def test_nothing_is_left_of_a_run_that_another_process_has_deleted(tmp_path: Path) -> None:
    with journal.lock(tmp_path / "deleted", wait=True) as is_held:
        assert is_held and journal.sessions(tmp_path / "deleted") == []
        journal.tidy(tmp_path / "deleted")
    assert list(tmp_path.iterdir()) == []


def test_a_sender_learns_that_another_has_sent_meanwhile(tmp_path: Path) -> None:
    answers = [journal.was_last_sender(tmp_path, token) for token in ("a", "a", "b", "a", "a")]
    assert answers == [False, True, False, False, True]


def test_nothing_is_left_of_a_run_that_is_sent(tmp_path: Path) -> None:
    writer = Writer(tmp_path, "aa")
    path, place = writer.room("a.txt")
    path.write_text("text")
    assert path == writer.folder / place
    session = the_session(tmp_path)
    (run,) = journal.runs(tmp_path)
    with journal.lock(run, wait=True):
        journal.tidy(run)
        assert session.folder.is_dir()
        session.delete()
        # A kill between two deletions leaves a folder without entries.
        (run / "0-0").mkdir()
        journal.tidy(run)
    assert list(tmp_path.iterdir()) == []


def test_a_new_session_comes_even_while_the_folder_is_tidied_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir, calls = Path.mkdir, iter(range(100))

    def made_and_gone(path: Path, *args: object, **kwargs: object) -> None:
        mkdir(path, *args, **kwargs)
        if next(calls) == 1:
            path.rmdir()

    monkeypatch.setattr(Path, "mkdir", made_and_gone)
    Writer(tmp_path, "aa").append("open")
    assert len(read(the_session(tmp_path))) == 1


def test_a_folder_that_cannot_be_made_is_an_error_and_no_endless_loop(tmp_path: Path) -> None:
    (tmp_path / "journal").symlink_to(tmp_path / "nowhere" / "deeper")
    with pytest.raises(OSError):
        Writer(tmp_path / "journal", "aa")


@pytest.mark.holds("R-85")
@pytest.mark.parametrize(
    "name", ["../x", "%2e%2e/x", "a#b", "x" * 300, "a\0b", "\x1b[31mred", "..", "", "/etc/x", "ä ö"]
)
def test_hostile_names_stay_inside(tmp_path: Path, name: str) -> None:
    writer = Writer(tmp_path / "journal", name)
    path, place = writer.room(name)
    path.write_text("text")
    assert path.resolve().is_relative_to(writer.folder.resolve()) and not set("\0\x1b%#") & set(
        place
    )
    writer.append("tags", tags={name: name})
    (session,) = journal.sessions(writer.folder.parent)
    content = (session.folder / "entries.jsonl").read_bytes()
    assert b"\x1b" not in content and b"\0" not in content and len(read(session)) == 1
    assert "\x1b" not in str(read(session)) and "\0" not in json.dumps(
        read(session), ensure_ascii=False
    )
    assert [folder.name for folder in tmp_path.iterdir()] == ["journal"]


CANARIES = {
    "DATABASE_URL": "postgresql://me:canary-one@db.example.org/runs",
    "AWS_ACCESS_KEY_ID": "AKIACANARYTWOCANARY2",
    "AWS_SECRET_ACCESS_KEY": "canary/three+abcdefghijklmnopqrstuvwxyz0123",
    "MLFLOW_TRACKING_TOKEN": "canary-four",
    "MLFLOW_TRACKING_PASSWORD": "canary-five",
}


@pytest.mark.holds("R-84")
def test_secrets_are_not_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CANARIES.items():
        monkeypatch.setenv(name, value)
    writer = Writer(tmp_path, "aa")
    for value in CANARIES.values():
        writer.append("tags", tags={"text": f"failed at {value}: no", value: "key"})
    # Not from the environment: known by their names or shapes.
    writer.append(
        "params",
        params={
            "api_key": "canary-six",
            "source": "https://me:can@ary-seven@example.org/a?token=canary-eight&x=1",
        },
    )
    writer.append("tags", tags={"note": "ghp_canarynine0123456789abcdefghijk AKIACANARYTENCANARYX"})
    writer.room("canary-four.txt")[0].write_text("")
    content = (the_session(tmp_path).folder / "entries.jsonl").read_text()
    names = " ".join(str(path) for path in (tmp_path).rglob("*"))
    assert "canary" not in (content + names).lower()
    assert "example.org/a?token=***&x=1" in content and "failed at" in content
