# syntax=docker/dockerfile:1

# Builds the one binary. Debian 12 on both sides: the runtime has the same C library.
FROM rust:1-bookworm AS build
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
# The dependencies are built in a layer of their own, from stand-ins for what the manifest names, so that a
# change of the source does not build them again.
RUN mkdir src benches && touch src/lib.rs && echo 'fn main() {}' >src/main.rs \
    && for bench in $(sed -n '/^\[\[bench\]\]/,/^name/s/^name = "\(.*\)"/\1/p' Cargo.toml); do \
        cp src/main.rs "benches/$bench.rs"; done \
    && cargo build --release --locked --lib --bin driftline \
    && rm -r src
COPY src src
# The stand-ins above are newer than the checked-out files may be; touched files are built again.
RUN touch src/lib.rs src/main.rs \
    && cargo build --release --locked --bin driftline \
    && strip target/release/driftline
# An empty folder of the right owner: a volume that is mounted over it takes the owner over.
RUN mkdir -p /state/var/lib/driftline

# No shell, no package manager; certificates and the C library only.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /build/target/release/driftline /usr/local/bin/driftline
COPY --from=build --chown=65532:65532 /state/ /
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/driftline/
USER 65532:65532
WORKDIR /var/lib/driftline
VOLUME /var/lib/driftline
EXPOSE 8080
# SIGTERM drains, commits and ends.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/driftline"]
CMD ["run", "--config", "/etc/driftline/driftline.toml"]
