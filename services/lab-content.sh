#!/bin/sh
# Mounts the content disk that is attached now, and takes from it what TFTP serves.
set -eu

if mountpoint -q /srv/content; then umount --lazy /srv/content; fi
tries=0
until [ -e /dev/disk/by-label/CONTENT ]; do
	tries=$((tries + 1))
	if [ "$tries" -gt 50 ]; then
		echo "lab-content: no disk labelled CONTENT is attached" >&2
		exit 1
	fi
	sleep 0.2
done
mount /srv/content
for file in vmlinuz initrd.img; do
	cmp -s "/srv/content/$file" "/srv/tftp/$file" || {
		cp "/srv/content/$file" "/srv/tftp/.$file"
		mv "/srv/tftp/.$file" "/srv/tftp/$file"
	}
done
