#!/bin/sh
# What the tests need from Debian and pip cannot bring: PostgreSQL's server. Does nothing where it
# is there already, or where this user may not install it; the tests then say what is missing.
set -eu
for binary in /usr/lib/postgresql/*/bin/postgres; do
  if [ -x "$binary" ]; then exit 0; fi
done
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "PostgreSQL is not installed; its tests are skipped (Debian, Ubuntu: apt-get install postgresql)."
  exit 0
fi
echo "Installing Debian's PostgreSQL for the tests ..."
export DEBIAN_FRONTEND=noninteractive
# No cluster of its own: the tests start servers in folders of their own.
mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] ||
  echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
apt-get update -qq
apt-get install -y -qq --no-install-recommends postgresql
