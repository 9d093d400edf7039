# The product in one image: the command `time2plug` with all its verbs.
FROM python:3.13-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/time2plug
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY csms csms
COPY billing billing
COPY reporting reporting
COPY simulators simulators
RUN /opt/time2plug/bin/pip install --no-cache-dir --constraint constraints.txt .

FROM python:3.13-slim-bookworm
COPY --from=build /opt/time2plug /opt/time2plug
RUN useradd --system --create-home --home-dir /var/lib/time2plug time2plug \
    && install --directory --owner time2plug --group time2plug /var/lib/time2plug/data
USER time2plug
WORKDIR /var/lib/time2plug
ENV PATH=/opt/time2plug/bin:$PATH PYTHONUNBUFFERED=1 T2P_DATA_DIR=/var/lib/time2plug/data
EXPOSE 8080 9000 9443
ENTRYPOINT ["time2plug"]
CMD ["serve"]
