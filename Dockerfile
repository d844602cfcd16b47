# A server for one exported or compressed model: no torch, nothing to compile, nothing written.
#
#   headstart export ants --to openvino --with-data photos
#   docker build -t headstart-serve .
#   export HEADSTART_TOKEN="$(openssl rand -hex 32)"
#   docker run --read-only --tmpfs /tmp -p 127.0.0.1:8000:8000 -e HEADSTART_TOKEN -v "$PWD/ants-openvino:/model:ro" headstart-serve
#
# For exports to ONNX: --build-arg RUNTIME=onnxruntime. docs/howto/serve.md states the size.
FROM python:3.11-slim
ARG RUNTIME=openvino
COPY constraints.txt pyproject.toml README.md LICENSE /build/
COPY src /build/src
RUN pip install --no-cache-dir -c /build/constraints.txt "/build[serve]" "${RUNTIME}" && rm -rf /build
USER nobody
ENV HOME=/tmp HEADSTART_OFFLINE=1
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
STOPSIGNAL SIGTERM
# Docker kills what has not ended 10 s after it was told to stop.
# A container is reached from outside it; what may reach the container is for whoever runs it to say.
CMD ["headstart", "serve", "/model", "--host", "0.0.0.0", "--grace", "8s"]
