# serve.py on a CPU, as an unprivileged user who can write only to /tmp and to the cache of downloaded weights:
#
#   docker build -t detect .
#   docker run --rm -p 127.0.0.1:8000:8000 --read-only --stop-timeout 110 \
#       -v /tmp -v detect-cache:/home/detect/.cache detect
#
# Videos need disk space in /tmp, so a --tmpfs is too small on a machine with little memory; see docs/serving.md.
#
# Flags of serve.py follow the name of the image: detect --model v2. To serve a checkpoint, mount it:
# -v "$PWD/outputs/train/mine/best.safetensors:/models/mine.safetensors:ro" and --model /models/mine.safetensors.
FROM python:3.12-slim

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
RUN useradd --create-home --uid 10001 detect && mkdir /home/detect/.cache && chown detect /home/detect/.cache
WORKDIR /app
# PyTorch without CUDA first, which saves gigabytes; then the remaining requirements.
RUN pip install --index-url https://download.pytorch.org/whl/cpu torch torchvision
COPY requirements.txt requirements-serve.txt ./
RUN pip install -r requirements-serve.txt
COPY serve.py pyproject.toml ./
COPY detect/ detect/
COPY weights/ weights/
USER detect
EXPOSE 8000
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz', timeout=5)"]
ENTRYPOINT ["python", "serve.py", "--host", "0.0.0.0"]
CMD ["--model", "balloon"]
