# One image for CPU and CUDA: the locked torch wheel holds both, and uses a GPU when the container is
# given one.
#
#   docker build -t dcgan-pipeline .
#   docker run --rm --user "$(id -u):$(id -g)" --read-only --tmpfs /tmp -v "$PWD":/work dcgan-pipeline dvc repro
#
# The repository is mounted, not copied: the pipeline's outputs, cache and git history belong to the
# user who runs it. It is the only volume; the root may be read-only.
#
# The base is pinned by the version that the committed results were made with. Pin its digest too
# where a registry can be asked for it (`docker buildx imagetools inspect
# python:3.11.7-slim-bookworm`): FROM python:3.11.7-slim-bookworm@sha256:…

FROM python:3.11.7-slim-bookworm AS build
COPY requirements.lock /tmp/requirements.lock
# The environment gets no pip of its own: the base's installs into it.
RUN python -m venv --without-pip /opt/venv \
    && python -m pip --python /opt/venv/bin/python install --no-cache-dir --require-hashes -r /tmp/requirements.lock

FROM python:3.11.7-slim-bookworm
# git for DVC; tini as PID 1, which hands on signals and collects orphans. Their versions are Debian's:
# it serves the newest only, so that a pinned one would stop the build at the next security fix.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git tini \
    && rm -rf /var/lib/apt/lists/* \
    && python -m pip uninstall --yes pip setuptools wheel \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin pipeline \
    && git config --system --add safe.directory /work
COPY --from=build /opt/venv /opt/venv
COPY docker/entrypoint.sh /usr/local/bin/entrypoint
# Everything that is written lies in the volume or in /tmp, and nothing depends on who the user is:
# --user may name any.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    USER=pipeline \
    HOME=/tmp \
    XDG_CACHE_HOME=/tmp/cache \
    MPLCONFIGDIR=/tmp/matplotlib \
    DVC_SITE_CACHE_DIR=/work/.scratch/dvc
USER 10001:10001
WORKDIR /work
ENTRYPOINT ["tini", "-g", "--", "entrypoint"]
CMD ["dvc", "repro"]
