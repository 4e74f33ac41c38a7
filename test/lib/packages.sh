# shellcheck shell=bash disable=SC2034
# packages.sh: the Debian packages of quickstart and run-tests, and where
# PostgreSQL's programs are. Sourced by both, which have run(): a command that
# a signal ends.

build_packages="gcc libc6-dev make autoconf automake pkg-config libevent-dev libssl-dev libinih-dev"

# The folder of PostgreSQL's programs; nothing and status 1 when there is none.
find_pgbin() {
	local d best=
	if [ -n "${PSB_TEST_PGBIN:-}" ]; then
		echo "$PSB_TEST_PGBIN"
		return
	fi
	if command -v pg_config >/dev/null; then
		d=$(pg_config --bindir)
		[ -x "$d/initdb" ] && best=$d
	fi
	if [ -z "$best" ]; then
		for d in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V); do
			[ -x "$d/initdb" ] && best=$d
		done
	fi
	[ -n "$best" ] && echo "$best"
}

# What is undone when the script ends, whatever ended it: see apt_install.
undo_files=()
undo_install() {
	[ ${#undo_files[@]} -eq 0 ] || rm -f "${undo_files[@]}"
	undo_files=()
}

# Installing PostgreSQL makes neither a cluster nor a running service. Only
# while it is installed: what the system's owner does later is his own.
apt_install() {
	local conf=/etc/postgresql-common/createcluster.d/psbouncer.conf policy=/usr/sbin/policy-rc.d
	mkdir -p "${conf%/*}"
	undo_files+=("$conf")
	echo "create_main_cluster = false" >"$conf"
	if [ ! -e $policy ]; then
		undo_files+=("$policy")
		printf '#!/bin/sh\nexit 101\n' >$policy
		chmod 0755 $policy
	fi
	local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3)
	local install=(install --no-install-recommends "$@")
	# The lists may be there and recent: try without the update first. Fetching may be
	# broken off at any time, unpacking is not: a signal waits for its end.
	run "${apt[@]}" --download-only "${install[@]}" ||
		{ run "${apt[@]}" update && run "${apt[@]}" --download-only "${install[@]}"; } || return
	setsid -w "${apt[@]}" --no-download "${install[@]}"
}

# need_packages LOG PACKAGE...: installs what is missing and says which (output
# goes to LOG). Without the right to: prints the line that does and ends with 2.
need_packages() {
	local log=$1 p missing=()
	shift
	command -v dpkg-query >/dev/null || return 0 # not Debian: configure names what is missing
	for p; do
		case $p in
		postgresql) find_pgbin >/dev/null && continue ;;
		gcc) command -v gcc >/dev/null && continue ;;
		esac
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	if [ "$(id -u)" != 0 ]; then
		echo "Debian packages are missing. This installs them:" >&2
		echo "sudo apt-get install --no-install-recommends ${missing[*]}" >&2
		exit 2
	fi
	echo "installing the Debian packages ${missing[*]}"
	apt_install "${missing[@]}" >"$log" 2>&1 || {
		tail -n 20 "$log" >&2
		echo "apt-get could not install them" >&2
		exit 1
	}
	undo_install
}
