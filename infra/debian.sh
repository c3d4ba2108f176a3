#!/bin/sh
# What the tests need from Debian and pip cannot bring: PostgreSQL's server, and Chromium for the
# pages that a reviewer opens. Does nothing where they are there already. Where one cannot be
# installed the tests of it are skipped and say so; with CI=true this fails instead, and so do they.
set -eu
wanted=
has_server() { for binary in /usr/lib/postgresql/*/bin/postgres; do [ -x "$binary" ] && return 0; done; return 1; }
has_server || wanted=postgresql
command -v chromium >/dev/null || wanted="$wanted chromium"
[ -n "$wanted" ] || exit 0
without() {
  echo "Not installed:$wanted ($1). Debian, Ubuntu: apt-get install $wanted" >&2
  if [ "${CI:-}" = true ]; then exit 1; fi
  exit 0
}
command -v apt-get >/dev/null || without "there is no apt-get"
[ "$(id -u)" = 0 ] || without "only root may"
echo "Installing from Debian for the tests: $wanted ..."
export DEBIAN_FRONTEND=noninteractive
# No server for the whole machine: the tests start their own, in folders of their own.
mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] ||
  echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
apt-get update -qq || without "apt-get update failed"
# shellcheck disable=SC2086  # a list of packages
apt-get install -y -qq --no-install-recommends $wanted || without "apt-get install failed"
