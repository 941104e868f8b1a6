# One image for CPU and CUDA: the locked torch wheel holds both, and uses a GPU when the container is given one.
#
#   docker build -t dcgan-pipeline .
#   docker run --rm -v "$PWD":/work dcgan-pipeline dvc repro
#
# The repository is mounted, not copied: the pipeline's outputs, cache and git history belong to whoever runs it.

FROM python:3.11.7-slim-bookworm AS build
COPY requirements.lock /tmp/requirements.lock
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --require-hashes -r /tmp/requirements.lock

FROM python:3.11.7-slim-bookworm
# git for DVC's experiments; tini as PID 1, so that SIGTERM reaches the training and ends it with a checkpoint.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home --shell /usr/sbin/nologin pipeline \
    && git config --system --add safe.directory /work
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001
WORKDIR /work
ENTRYPOINT ["tini", "-g", "--"]
CMD ["dvc", "repro"]
