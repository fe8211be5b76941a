# An image that holds flowtap, the roots by which it verifies servers, and nothing else.
#
#   docker build -t flowtap .
#   docker run --rm -p 127.0.0.1:8080:8080 -v flowtap-ca:/ca -v flowtap-capture:/capture flowtap
#
# docs/install.md has more.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# Linked statically; with --target, build scripts and macros are not.
RUN target=$(rustc -vV | sed -n 's/^host: //p') \
    && RUSTFLAGS="-C target-feature=+crt-static" \
        cargo build --release --locked --bin flowtap --target "$target" \
    && mkdir -p /image/etc/ssl/certs /image/tmp /empty \
    && cp "target/$target/release/flowtap" /image/ \
    && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
    && chmod 1777 /image/tmp

FROM scratch
COPY --from=build /image/ /
# The CA, which is to be kept and is secret; and the bundle.
COPY --from=build --chown=65532:65532 /empty /ca
COPY --from=build --chown=65532:65532 /empty /capture
USER 65532:65532
ENV HOME=/ca
VOLUME ["/ca", "/capture"]
WORKDIR /capture
# The proxy. MCP has 9011, on the container's own loopback alone: docs/install.md.
EXPOSE 8080 9011
HEALTHCHECK NONE
ENTRYPOINT ["/flowtap"]
# All addresses of the container; who can reach them is up to -p. Publish on 127.0.0.1 alone, or
# set credentials with --set proxyauth=USER:PASSWORD.
CMD ["proxy", "--listen", "0.0.0.0", "--confdir", "/ca", "--output", "/capture/capture.zip"]
