# A static binary and nothing else: no shell, no package manager, no root.
#
#   docker build --build-arg VERSION=1.0.0 --build-arg REVISION="$(git rev-parse HEAD)" \
#     --build-arg CREATED="$(git show -s --format=%cI)" -t kuairelay .
#   docker run -p 8080:8080 -v ./config.yaml:/etc/kuairelay/config.yaml:ro -v kuairelay-spool:/var/lib/kuairelay/spool kuairelay
#
# The volume holds callbacks that were answered success, but are not in Redis: give it a name, so that it outlives the container.
# (A folder of the host has to belong to user 65532.)
#
# To reach the private listener from outside the container, set admin.listen to ":8081" and publish that port to trusted hosts only.
FROM --platform=$BUILDPLATFORM golang:1.26-alpine AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev REVISION= CREATED=
ARG TARGETOS TARGETARCH
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags "-s -w -buildid= -X kuairelay/relay/cli.version=$VERSION \
    -X kuairelay/relay/cli.revision=$REVISION -X kuairelay/relay/cli.commitTime=$CREATED" -o /kuairelay . && mkdir -p /state/spool

FROM scratch
ARG VERSION=dev REVISION= CREATED=
LABEL org.opencontainers.image.title="kuairelay" \
      org.opencontainers.image.description="Relays the callbacks of one kuaidihelp account to many tenants, signed" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /kuairelay /kuairelay
COPY --from=build --chown=65532:65532 /state /var/lib/kuairelay
USER 65532:65532
WORKDIR /var/lib/kuairelay
VOLUME /var/lib/kuairelay/spool
EXPOSE 8080 8081
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["/kuairelay", "healthcheck"]
ENTRYPOINT ["/kuairelay"]
CMD ["serve", "-c", "/etc/kuairelay/config.yaml"]
