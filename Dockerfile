# One image for every service of docker-compose.yml. Build arguments set pip's options: for a CPU build of torch use
# --build-arg PIP_EXTRA_INDEX_URL=...
FROM python:3.11-slim-bookworm

ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1

RUN useradd --create-home --uid 10001 annealq \
    && install --directory --owner=annealq --mode=0700 /var/lib/annealq

WORKDIR /opt/annealq
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY schema schema
COPY migrations migrations
COPY producer producer
COPY worker worker
# torch is installed first and alone, so that pip takes a CPU build if it finds one.
RUN pip install -c constraints.txt torch \
    && pip install -c constraints.txt '.[all]'

USER annealq
ENV ANNEALQ_HOME=/var/lib/annealq ANNEALQ_LOG=json
VOLUME /var/lib/annealq
ENTRYPOINT ["annealq"]
