# One image: the predictor by default, the training job and the store's set-up by command.
# Built from requirements.image.lock alone: exact versions, hashes checked, wheels only, so no compiler is ever there.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
RUN python -m venv /opt/sabia
COPY requirements.image.lock .
RUN /opt/sabia/bin/python -m pip install --quiet --require-hashes --only-binary :all: -r requirements.image.lock
COPY pyproject.toml README.md ./
COPY src src
COPY manifests manifests
# The tests that packages bring, and what only building needed, are not for production.
RUN /opt/sabia/bin/python -m pip install --quiet --no-build-isolation --no-deps . \
    && /opt/sabia/bin/python -m pip uninstall --quiet --yes setuptools pip \
    && find /opt/sabia -depth -type d \( -name tests -o -name test \) -path '*/site-packages/*' -exec rm -rf {} +

FROM ${PYTHON_IMAGE}
ARG GIT_COMMIT=""
ENV PATH=/opt/sabia/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SABIA_GIT_COMMIT=${GIT_COMMIT}
COPY --from=build /opt/sabia /opt/sabia
COPY predictor /srv/predictor
COPY training /srv/training
WORKDIR /srv
# Any user id works: nothing is written outside /tmp, and everything is readable by all.
USER 10001:10001
EXPOSE 8080
ENTRYPOINT ["python", "-m", "predictor"]
