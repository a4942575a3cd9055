# The server in a small image that runs as nobody in particular. Build: docker build -t millpond .
FROM rust:1-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends clang libclang-dev libcurl4-openssl-dev libssl-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Cargo.toml Cargo.lock rustfmt.toml ./
COPY .cargo .cargo
COPY crates crates
RUN cargo build --release --locked -p millpond \
 && strip target/release/millpond -o /millpond

FROM debian:bookworm-slim
# What librdkafka needs to connect with TLS.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates libcurl4 libssl3 zlib1g \
 && rm -rf /var/lib/apt/lists/*
RUN groupadd --system --gid 6455 millpond \
 && useradd --system --uid 6455 --gid millpond --home-dir /var/lib/millpond --create-home millpond
COPY --from=build /millpond /usr/local/bin/millpond
USER millpond
WORKDIR /var/lib/millpond
ENV MILLPOND_DATA_DIR=/var/lib/millpond/data \
    MILLPOND_LISTEN=0.0.0.0:6455 \
    MILLPOND_HTTP=0.0.0.0:6456
VOLUME /var/lib/millpond
EXPOSE 6455 6456
# bash speaks TCP by itself, so the image needs no HTTP client.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
  CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/6456 && printf 'GET /health/ready HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3 && read -r _ status _ <&3 && [ \"$status\" = 200 ]"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["millpond"]
