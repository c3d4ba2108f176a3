#!/bin/sh
# What the tests need from Debian and pip cannot bring: PostgreSQL's server. Does nothing where it
# is there already. Where it cannot be installed the tests of it are skipped and say so; with
# CI=true this fails instead, and so do they.
set -eu
for binary in /usr/lib/postgresql/*/bin/postgres; do
  if [ -x "$binary" ]; then exit 0; fi
done
without() {
  echo "PostgreSQL is not installed ($1). Debian, Ubuntu: apt-get install postgresql" >&2
  if [ "${CI:-}" = true ]; then exit 1; fi
  exit 0
}
command -v apt-get >/dev/null || without "there is no apt-get"
[ "$(id -u)" = 0 ] || without "only root may"
echo "Installing Debian's PostgreSQL for the tests ..."
export DEBIAN_FRONTEND=noninteractive
# No server for the whole machine: the tests start their own, in folders of their own.
mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] ||
  echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
apt-get update -qq || without "apt-get update failed"
apt-get install -y -qq --no-install-recommends postgresql || without "apt-get install failed"
