FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_PYTHON=/venv/bin/python
WORKDIR /app
RUN python -m venv --without-pip /venv
COPY requirements.lock ./
RUN pip install --require-hashes --only-binary :all: -r requirements.lock
COPY pyproject.toml requirements-build.lock LICENSE ./
COPY backend backend
COPY migrations migrations
# The image has the layout of the repository, so that all paths are those of development.
# The build backend only creates the `backend` command.
RUN pip install --require-hashes --only-binary :all: -r requirements-build.lock \
    && pip install --no-deps --no-build-isolation --editable . \
    && pip uninstall --yes -r requirements-build.lock \
    && python -m compileall -q backend migrations

FROM python:3.13-slim
# pg_dump and pg_restore, which must not be older than the server; Debian's may be. The script adds
# PostgreSQL's own repository, whose key is in the package.
ARG POSTGRES_CLIENT=18
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates postgresql-common \
    && /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y \
    && apt-get install --yes --no-install-recommends postgresql-client-${POSTGRES_CLIENT} \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin trellis \
    && install --directory --owner=trellis /data
WORKDIR /app
COPY --from=build /venv /venv
COPY --from=build /app /app
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    ENVIRONMENT=production DATA_DIR=/data
VOLUME /data
# A number, so that an orchestrator can verify that it is not root.
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8000, timeout=4); c.request('GET', '/health/live'); raise SystemExit(c.getresponse().status != 200)"]
CMD ["backend", "serve", "--host", "0.0.0.0", "--port", "8000"]
