#!/bin/bash
# A training, or a cell of a sweep, on Slurm. It goes on after a preemption, a time limit or a lost
# node; read docs/scale.md first.
#
#   sbatch jobs/slurm.sh                                    # the whole graph, on one node
#   sbatch --nodes=4 jobs/slurm.sh                          # the stage train on four nodes; prepare the data before
#   sbatch --array=0-5 jobs/slurm.sh -S lr=1e-3,3e-3 -S seed=1,2,3 --git-remote origin    # a sweep, a cell a task
#
# Run it in a clone on a file system that all nodes see; of an array, each task makes a clone of its own.
#
# What sbatch is told on its command line goes before these.
#SBATCH --job-name=dcgan
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --time=12:00:00
# Back into the queue after a preemption, with the log continued.
#SBATCH --requeue
#SBATCH --open-mode=append
# Two minutes before the time limit this script gets SIGTERM. At a preemption it is the partition's
# GraceTime (scontrol show partition): where that is 0 only training.save_seconds helps.
#SBATCH --signal=B:TERM@120
set -u

cd "${SLURM_SUBMIT_DIR:-.}" || exit 6
# shellcheck disable=SC1091 # make repro has made it
[ -e .venv/bin/activate ] && . .venv/bin/activate
restarts=${SLURM_RESTART_COUNT:-0}
# Threads decide bits: the same number on each try.
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}

if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then
  job=${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}
  # DVC runs one experiment in a folder at a time. A clone that is there holds this cell's checkpoint.
  clone=.scratch/cells/$SLURM_ARRAY_TASK_ID
  [ -d "$clone/.git" ] || git clone --quiet . "$clone" || exit 6
  git -C "$clone" remote set-url origin "$(git remote get-url origin)"
  cd "$clone" || exit 6
  command=(python -m pipeline sweep run "$SLURM_ARRAY_TASK_ID" "$@")
elif [ "${SLURM_JOB_NUM_NODES:-1}" -gt 1 ]; then
  job=$SLURM_JOB_ID
  head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
  # The id holds the restart count, so that a new start never joins what is left of an old one. The
  # port has no password: for a cluster's own network only.
  command=(
    torchrun --nnodes "$SLURM_JOB_NUM_NODES" --nproc-per-node "${SLURM_GPUS_ON_NODE:-1}"
    --max-restarts 0 --rdzv-backend c10d --rdzv-id "$job.$restarts"
    --rdzv-endpoint "$head:$((20000 + SLURM_JOB_ID % 20000))" -m pipeline.train "$@"
  )
else
  job=$SLURM_JOB_ID
  command=(python -m pipeline repro "$@")
fi

# srun passes the signal on to all processes of the step. This shell must outlive the step.
asked=
trap 'asked=1; kill -TERM "$step" 2>/dev/null' TERM
srun --kill-on-bad-exit=1 "${command[@]}" &
step=$!
# A trap ends `wait` early: ask until the step has ended.
while :; do
  wait "$step"
  status=$?
  kill -0 "$step" 2>/dev/null || break
done

# torchrun ends with 1 whatever its processes ended with.
[ -n "$asked" ] && [ "$status" -ne 0 ] && status=143
case $status in
  143 | 130) most=100 ;; # stopped, and its state is saved
  6) most=3 ;;           # disk, network, device, or the lock of a node that is gone
  *) exit "$status" ;;   # done, or wrong in a way that another try does not mend
esac
if [ "$restarts" -lt "$most" ]; then
  echo "slurm.sh: exit code $status: back into the queue (restart $((restarts + 1)))"
  # An array's own id would put all its tasks back.
  scontrol requeue "$job"
fi
exit "$status"
