# syntax=docker/dockerfile:1
#   docker build --tag spikevae .                                        for CPUs
#   docker build --tag spikevae --build-arg TORCH_BACKEND=cu130 .        for NVIDIA GPUs; run it with --gpus all
#   docker run --rm --publish 7860:7860 spikevae                         the demo, on http://localhost:7860
#   (for the open internet: with the options in docs/security.md)
#   docker run --rm --volume "$PWD:/out" --user "$(id -u)" spikevae spikevae sample fashion-mnist --out /out/samples.png
#   docker run --rm --volume spikevae-data:/data spikevae spikevae classify mnist --data mnist --split test
# The tag may be moved by its owners. To pin it, add the digest that this prints: docker buildx imagetools inspect NAME:TAG
FROM python:3.11.14-slim-bookworm

# Which build of PyTorch: cpu, cu130, ..., or empty for the one that PyPI carries (on x86-64 Linux a CUDA build).
ARG TORCH_BACKEND=cpu

ENV PYTHONUNBUFFERED=1 \
    UV_HTTP_TIMEOUT=300 \
    UV_NO_CACHE=1 \
    UV_COMPILE_BYTECODE=1 \
    PATH=/opt/spikevae/bin:$PATH

RUN pip install --no-cache-dir uv==0.13.9 && uv venv /opt/spikevae

# The dependencies change seldom and take gigabytes: a layer of their own, which an edit of the source leaves alone.
WORKDIR /src
COPY pyproject.toml requirements.lock ./
# PyTorch comes from its own index, whose files have other hashes; everything else is checked by its hash.
RUN uv pip install --python /opt/spikevae/bin/python ${TORCH_BACKEND:+--torch-backend "${TORCH_BACKEND}"} \
        --no-verify-hashes --constraint requirements.lock torch torchvision \
    && uv pip install --python /opt/spikevae/bin/python --require-hashes --constraint requirements.lock \
        --extra app --requirements pyproject.toml

COPY README.md LICENSE ./
COPY spikevae spikevae
COPY app app
RUN uv pip install --python /opt/spikevae/bin/python --no-deps .

# The data sets come here, where a volume keeps them if one is mounted, and everything that a library wants to cache goes to
# /tmp, so that any --user will do. No VOLUME: a container that is --read-only would still get one to write to.
RUN useradd --create-home --uid 1000 spikevae && install --directory --owner spikevae --mode 1777 /data
ENV SPIKEVAE_DATA=/data \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib
USER 1000
WORKDIR /data

EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:7860/', timeout=4)"]

# Python ignores SIGTERM as the first process of a container; on SIGINT it says goodbye.
STOPSIGNAL SIGINT
CMD ["spikevae", "demo", "--host", "0.0.0.0", "--port", "7860"]
