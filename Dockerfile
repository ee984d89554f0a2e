# The operator's image, for amd64 and arm64:
#
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg VERSION=0.1.0 --tag ghcr.io/tenantry/tenantry:0.1.0 --push .
#
# It is compiled on the machine that builds, for either: that takes minutes, where an emulated compiler takes an hour. For a release, give BASE
# with its digest. dev/operator-image makes the same without Docker.
ARG BASE=gcr.io/distroless/cc-debian13:nonroot

FROM --platform=$BUILDPLATFORM rust:1.95-trixie AS build
ARG TARGETARCH
WORKDIR /source
RUN case $TARGETARCH in \
      amd64) echo x86_64-unknown-linux-gnu gcc-x86-64-linux-gnu x86_64-linux-gnu-gcc ;; \
      arm64) echo aarch64-unknown-linux-gnu gcc-aarch64-linux-gnu aarch64-linux-gnu-gcc ;; \
      *) echo "no image is made for $TARGETARCH" >&2; exit 1 ;; \
    esac >/target && \
    read -r target package linker </target && \
    apt-get update && apt-get install --yes --no-install-recommends "$package" "libc6-dev-$TARGETARCH-cross" && \
    rm -rf /var/lib/apt/lists/* && \
    rustup target add "$target"
COPY Cargo.toml Cargo.lock askama.toml ./
COPY src ./src
COPY benches ./benches
COPY config/rbac ./config/rbac
RUN read -r target package linker </target && \
    export "CARGO_TARGET_$(echo "$target" | tr a-z- A-Z_)_LINKER=$linker" "CC_$(echo "$target" | tr - _)=$linker" && \
    cargo build --release --locked --bin tenantry --target "$target" && \
    cp "target/$target/release/tenantry" /tenantry

FROM $BASE
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="Tenantry" \
      org.opencontainers.image.description="The operator that runs an independent, personalised instance of one web product for each customer" \
      org.opencontainers.image.source="https://github.com/tenantry/tenantry" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION"
COPY --from=build /tenantry /usr/local/bin/tenantry
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/tenantry"]
