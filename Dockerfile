# fedbbpt with the model that comes with it, on CPUs and without a network:
#   docker build -t fedbbpt .
#   docker run --rm --network none -v "$PWD/runs:/work/runs" fedbbpt train
FROM python:3.11-slim
RUN useradd --create-home --uid 1000 fedbbpt && install -d -o fedbbpt /work /work/runs
# PyPI's torch for Linux brings gigabytes of GPU libraries; this index has builds without them
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir --index-url "${TORCH_INDEX}" torch torchvision
COPY setup.cfg pyproject.toml README.md LICENSE /src/
COPY fedbbpt /src/fedbbpt
COPY backends /src/backends
COPY benchmarks /src/benchmarks
ARG EXTRAS=local,http,serve
RUN pip install --no-cache-dir "/src[${EXTRAS}]"
USER fedbbpt
WORKDIR /work
ENTRYPOINT ["fedbbpt"]
CMD ["train"]
