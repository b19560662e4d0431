#!/bin/sh
# Runs once the essential packages are there, before all others: keeps out of
# the way what costs minutes under emulation and is not needed (measured for
# arm64: byte-compiling Python modules 3 min, a first initrd that a second one
# replaces 1 min).
set -eu
root=$1
divert() {
	chroot "$root" dpkg-divert --quiet --local --rename --divert "$1.lab" --add "$1"
	ln -sf /bin/true "$root$1"
}
divert /usr/bin/py3compile
divert /usr/sbin/update-initramfs

mkdir -p "$root/etc/initramfs-tools/conf.d" "$root/etc/cloud/cloud.cfg.d"
# what a VM boots from, and what an installer in it needs
cat >"$root/etc/initramfs-tools/conf.d/lab" <<'END'
MODULES=list
COMPRESS=zstd
COMPRESSLEVEL=1
END
