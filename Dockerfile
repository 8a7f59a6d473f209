# One image for every service of docker-compose.yml. pip's own settings pass as build arguments, so that a CPU
# build of torch is a matter of --build-arg PIP_EXTRA_INDEX_URL=...
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
# torch first and alone: pip takes a CPU build where one is at hand.
RUN pip install -c constraints.txt torch \
    && pip install -c constraints.txt '.[all]'

USER annealq
ENV ANNEALQ_HOME=/var/lib/annealq ANNEALQ_LOG=json
VOLUME /var/lib/annealq
ENTRYPOINT ["annealq"]
