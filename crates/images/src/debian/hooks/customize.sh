#!/bin/sh
# Runs when all packages are there: makes the tree a cloud image (the shape of
# Ubuntu's) and writes it as an ext4 file system into the disk.
set -eu
root=$1
# OUT, LOADER_FORMAT, CONSOLE, ROOT_OFFSET; written by images/src/debian/bootstrap.rs
. "$(dirname "$0")/settings"

undivert() {
	rm -f "$root$1"
	chroot "$root" dpkg-divert --quiet --local --rename --divert "$1.lab" --remove "$1"
}
undivert /usr/bin/py3compile
undivert /usr/sbin/update-initramfs

echo "::stage initrd"
for module in virtio_pci virtio_blk virtio_net virtio_scsi sd_mod ext4 squashfs overlay \
	loop isofs vfat nls_ascii nls_cp437 nls_iso8859-1; do
	echo "$module"
done >>"$root/etc/initramfs-tools/modules"
chroot "$root" update-initramfs -c -k all

echo "::stage system settings"
cat >"$root/etc/fstab" <<'END'
LABEL=cloudimg-rootfs	/	ext4	rw,discard,errors=remount-ro	0 1
LABEL=UEFI	/boot/efi	vfat	umask=0077,nofail	0 1
END
mkdir -p "$root/boot/efi" "$root/boot/grub"
cat >"$root/boot/grub/grub.cfg" <<END
set timeout=0
echo "GNU GRUB: booting Linux from the disk"
linux /vmlinuz root=LABEL=cloudimg-rootfs ro console=$CONSOLE
initrd /initrd.img
boot
END
cat >"$root/etc/cloud/cloud.cfg.d/90_lab.cfg" <<'END'
datasource_list: [NoCloud, None]
apt: { preserve_sources_list: true }
END
# cloud-init renders for systemd-networkd; each machine makes its own identity
chroot "$root" systemctl enable systemd-networkd.service >/dev/null
# what would take the processor or dpkg's lock in a machine's first minutes
chroot "$root" systemctl mask apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer \
	e2scrub_reap.service >/dev/null
rm -f "$root"/etc/ssh/ssh_host_* "$root/var/lib/dbus/machine-id" "$root/etc/hostname"
: >"$root/etc/machine-id"

echo "::stage boot loader"
cat >"$root/tmp/early.cfg" <<'END'
search --no-floppy --label --set=root cloudimg-rootfs
set prefix=($root)/boot/grub
configfile $prefix/grub.cfg
END
chroot "$root" grub-mkimage -O "$LOADER_FORMAT" -o /tmp/loader.efi -p /boot/grub -c /tmp/early.cfg \
	part_gpt ext2 fat search search_label linux normal configfile echo test gzio all_video
cp "$root/tmp/loader.efi" "$OUT/loader.efi"
rm -f "$root/tmp/early.cfg" "$root/tmp/loader.efi"

cp "$root/vmlinuz" "$OUT/vmlinuz"
cp "$root/initrd.img" "$OUT/initrd.img"
chroot "$root" dpkg-query -W -f '${Package}\t${Version}\t${Architecture}\n' >"$OUT/packages.tsv"

echo "::stage root file system"
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/log/apt \
	"$root"/var/log/dpkg.log "$root"/var/cache/debconf/*-old "$root"/var/lib/dpkg/*-old
# a bind mount that is not recursive shows the tree without /proc, /sys and /dev's mounts
tree=$OUT/tree
mkdir -p "$tree"
mount --bind "$root" "$tree"
size=$(($(du -sxm "$tree" | cut -f1) * 13 / 10 + 256))
PATH=$PATH:/sbin:/usr/sbin mke2fs -q -t ext4 -L cloudimg-rootfs -d "$tree" \
	-E "offset=$ROOT_OFFSET,root_owner=0:0" "$OUT/disk.raw" "${size}M"
truncate -s "$((ROOT_OFFSET + size * 1048576))" "$OUT/disk.raw"
umount "$tree"
rmdir "$tree"
