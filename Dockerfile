# Two images from one file: `--target kit` has the contract kit as well; the last stage, the default, is the fake alone.
FROM python:3.12.12-slim-bookworm AS wheel
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY common common
COPY openapi openapi
COPY mock_server mock_server
COPY contract_tests contract_tests
COPY clients/python clients/python
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12.12-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 KLING_MOCK_HOME=/var/lib/kling-mock
COPY --from=wheel /wheels /wheels
COPY constraints.txt /wheels/
RUN useradd --system --uid 10001 --no-create-home kling \
 && mkdir -p /var/lib/kling-mock /trust /report /out \
 && chown kling /var/lib/kling-mock /trust /report /out

# pip compiles what it installs; of the standard library, which the base image brings as source alone, an import compiles what a start needs.
# A container cannot write there and would compile everything at each start: three times the processor of a start from compiled files.
FROM base AS kit
RUN pip install --no-cache-dir -c /wheels/constraints.txt "$(ls /wheels/*.whl)[kit]" && rm -r /wheels \
 && PYTHONDONTWRITEBYTECODE= python -c "import kling_contract.cli.commands.server, kling_contract.cli.commands.client"
USER 10001
ENTRYPOINT ["kling-contract"]

FROM base AS mock
RUN pip install --no-cache-dir -c /wheels/constraints.txt "$(ls /wheels/*.whl)[postgres]" && rm -r /wheels \
 && PYTHONDONTWRITEBYTECODE= python -c "import kling_mock.serving.healthcheck, kling_mock.serving.server, kling_mock.web.flask_app"
USER 10001
ENV KLING_MOCK_HOST=0.0.0.0 KLING_MOCK_PORT=4010
EXPOSE 4010 443
# Plain HTTP or HTTPS with the local authority, whichever the options chose; the loopback needs no token.
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --start-interval=200ms --retries=3 \
  CMD ["python", "-m", "kling_mock.serving.healthcheck"]
# The server itself is process 1: it takes SIGTERM and starts no children.
ENTRYPOINT ["kling-mock"]
CMD ["serve"]
