# A validating resolver for the gateway to ask: the distribution's unbound, and the keys of the DNS root.
FROM debian:bookworm-slim
RUN apt-get update \
  && apt-get install -y --no-install-recommends dns-root-data unbound \
  && rm -rf /var/lib/apt/lists/*
USER unbound
ENTRYPOINT ["unbound", "-d", "-p", "-c", "/etc/unbound/atlas.conf"]
