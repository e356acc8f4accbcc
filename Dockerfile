# The agent and nothing else: the two files of dist/ on a distroless Node. There is no shell, no package manager and nothing
# that the build needed.
#
# Both bases may be named otherwise, best by digest (the release does that; a distroless tag always means its newest build):
#   docker build --build-arg RUN_BASE=gcr.io/distroless/nodejs24-debian13@sha256:… .
# BUILD_BASE has to bring Node 24, npm and a shell; RUN_BASE glibc and a Node 24 at /nodejs/bin/node.
ARG BUILD_BASE=docker.io/library/node:24.21.0-trixie-slim
ARG RUN_BASE=gcr.io/distroless/nodejs24-debian13:latest

# Runs on the architecture of the machine that builds, whichever the image is for: nothing is emulated.
FROM --platform=$BUILDPLATFORM ${BUILD_BASE} AS build
WORKDIR /source
COPY package.json package-lock.json .npmrc ./
ARG TARGETARCH
# What builds comes for the machine that builds, and the native module for the architecture of the image; the lock file says
# what both have to be.
RUN npm ci \
 && mkdir /target && cp package.json package-lock.json .npmrc /target \
 && npm ci --prefix /target --omit=dev --os=linux --cpu="$(echo "$TARGETARCH" | sed s/amd64/x64/)"
COPY agent agent
COPY scripts/arguments.ts scripts/build.ts scripts/
ARG SOURCE_DATE_EPOCH
RUN node scripts/build.ts --architecture "$TARGETARCH" --packages /target/node_modules

FROM ${RUN_BASE}
LABEL org.opencontainers.image.title="leasehold" \
      org.opencontainers.image.description="Keeps a failover IP on exactly one healthy Kubernetes node."
WORKDIR /leasehold
COPY --from=build /source/dist/ ./
COPY --chmod=0755 image/leasehold /usr/local/bin/leasehold
# Root, because that is whom a container's added capabilities reach; without them it may do nothing to the node.
USER 0:0
STOPSIGNAL SIGTERM
# The first two flags keep the agent some 10 MB smaller; it does too little work to miss the speed. The third ends one that leaks
# before the kernel does, with a word about why: 14 MB of heap are in use, and a crash is safe.
ENTRYPOINT ["/nodejs/bin/node", "--max-semi-space-size=1", "--optimize-for-size", "--max-old-space-size=64", "/leasehold/leasehold.mjs"]
