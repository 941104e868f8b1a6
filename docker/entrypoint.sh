#!/bin/bash
# Runs the container's command in a process group of its own, hands signals on to the whole group,
# and waits until all of it has ended: dvc ends at once on SIGTERM, while the stage that it started
# writes a checkpoint first, and a container ends with its first process.
set -u

# With a terminal, Ctrl-C reaches the group anyway, and only a foreground process may read what is typed.
if [ -t 0 ]; then
  exec "$@"
fi

set -m
"$@" &
group=$!
trap 'kill -TERM -- "-$group"' TERM
trap 'kill -INT -- "-$group"' INT
wait "$group"
status=$?
# A trap ends `wait` early, with the signal's own 128 + number; ask for the command's status until it
# has one.
while kill -0 "$group" 2>/dev/null; do
  wait "$group"
  status=$?
done
while kill -0 -- "-$group" 2>/dev/null; do
  sleep 0.1
done
exit "$status"
