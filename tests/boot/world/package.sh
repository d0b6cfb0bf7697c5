# SPDX-License-Identifier: Apache-2.0
#
# Builder of one store path out of Debian packages: unpacks $debs, keeps the libraries and what
# $keep names, and binds each binary to glibc's loader and to those of $deps that it needs. A library
# that nobody provides is an error: a closure with a hole would only be noticed in the machine.

tmp=$NIX_BUILD_TOP/unpack
mkdir -p "$tmp" "$out/lib"
for deb in $debs; do
	dpkg-deb --fsys-tarfile "$deb" | tar -x --no-same-owner --no-same-permissions -C "$tmp" --wildcards \
		--exclude='./usr/share/*' --exclude='*/gconv' --exclude='./etc' --exclude='./var'
done

# Debian's places -> bin, sbin, lib
arch=x86_64-linux-gnu
for d in lib usr/lib; do
	[ ! -d "$tmp/$d/$arch" ] || cp -a "$tmp/$d/$arch/." "$out/lib/"
	rm -rf "${tmp:?}/$d/$arch"
done
for d in bin sbin lib; do
	for from in "$tmp/$d" "$tmp/usr/$d"; do
		[ -d "$from" ] || continue
		mkdir -p "$out/$d"
		cp -a "$from/." "$out/$d/"
	done
done

# Only libraries, and what is asked for
cd "$out"
find . -type l -o -type f | sed 's,^\./,,' | sort | while read -r f; do
	case $f in
	lib/systemd/lib*.so) continue ;;
	lib/*/*) ;;
	lib/*.so | lib/*.so.*) continue ;;
	esac
	echo "$keep" | grep -qxF -e "$f" || rm "$f"
done
echo "$keep" | while read -r f; do
	[ -z "$f" ] || [ -e "$f" ] || [ -L "$f" ] || { echo "$name: the packages have no '$f'" >&2; exit 1; }
done
find . -depth -type d -empty -delete

# Where is the library $1: here, or in a dependency, or in glibc?
provider()
{
	for p in "$out/lib" "$out/lib/systemd"; do
		[ ! -e "$p/$1" ] || { echo "$p"; return; }
	done
	for p in $deps $glibc; do
		[ ! -e "$p/lib/$1" ] || { echo "$p/lib"; return; }
	done
	echo "$name: '$2' needs '$1', which no dependency has" >&2
	return 1
}

bind()
{
	rpath=
	for lib in $(patchelf --print-needed "$1"); do
		dir=$(provider "$lib" "$1")
		case :$rpath: in *:$dir:*) ;; *) rpath=${rpath:+$rpath:}$dir ;; esac
	done
	if patchelf --print-interpreter "$1" >/dev/null 2>&1; then
		patchelf --set-interpreter "$glibc/lib/ld-linux-x86-64.so.2" ${rpath:+--set-rpath "$rpath"} "$1"
	elif [ -n "$rpath" ]; then
		patchelf --set-rpath "$rpath" "$1"
	fi
}

[ -n "$glibc" ] || exit 0 # glibc itself: its loader finds its parts, and its interpreter is its own
find . -type f | sort > "$NIX_BUILD_TOP/files"
while read -r f; do
	[ "$(od -An -tx1 -N4 "$f" | tr -d ' ')" != 7f454c46 ] || bind "$f"
done < "$NIX_BUILD_TOP/files"
