# Two images of one build. `predictor` serves; `full` trains, operates rollouts, reports, and runs KServe's own server.
# Built from the locks alone: exact versions, hashes checked, wheels only, so no compiler is ever there.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS tools
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
RUN python -m venv /opt/tools && python -m venv --without-pip /opt/sabia
COPY requirements.build.lock .
RUN /opt/tools/bin/python -m pip install --quiet --require-hashes --only-binary :all: -r requirements.build.lock

FROM tools AS wheel
COPY pyproject.toml README.md ./
COPY src src
COPY manifests manifests
RUN /opt/tools/bin/python -m pip wheel --quiet --no-build-isolation --no-deps --wheel-dir /wheel .

FROM tools AS predictor-venv
COPY requirements.predictor.lock scripts/strip_predictor.sh ./
RUN /opt/tools/bin/python -m pip --python /opt/sabia/bin/python install --quiet --require-hashes --only-binary :all: \
        -r requirements.predictor.lock \
    && ./strip_predictor.sh /opt/sabia
COPY --from=wheel /wheel /wheel
RUN /opt/tools/bin/python -m pip --python /opt/sabia/bin/python install --quiet --no-deps /wheel/*.whl

FROM tools AS full-venv
COPY requirements.full.lock .
# The tests that packages bring, and the setuptools that grpcio-tools wants for compiling messages, are not for production.
RUN /opt/tools/bin/python -m pip --python /opt/sabia/bin/python install --quiet --require-hashes --only-binary :all: \
        -r requirements.full.lock \
    && /opt/tools/bin/python -m pip --python /opt/sabia/bin/python uninstall --quiet --yes setuptools \
    && find /opt/sabia -depth -type d \( -name tests -o -name test \) -path '*/site-packages/*' -exec rm -rf {} +
COPY --from=wheel /wheel /wheel
RUN /opt/tools/bin/python -m pip --python /opt/sabia/bin/python install --quiet --no-deps /wheel/*.whl

FROM ${PYTHON_IMAGE} AS base
ARG GIT_COMMIT=""
ENV PATH=/opt/sabia/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SABIA_GIT_COMMIT=${GIT_COMMIT}
WORKDIR /srv
# Any user id works: nothing is written outside /tmp, and everything is readable by all.
USER 10001:10001

FROM base AS full
COPY --from=full-venv /opt/sabia /opt/sabia
COPY predictor /srv/predictor
COPY training /srv/training
ENTRYPOINT ["sabia"]

# Last: what `docker build .` makes.
FROM base AS predictor
COPY --from=predictor-venv /opt/sabia /opt/sabia
# In a pod it listens on every address; without this, `sabia serve` listens on loopback.
ENV SABIA_HOST=0.0.0.0
EXPOSE 8080
ENTRYPOINT ["sabia", "serve"]
