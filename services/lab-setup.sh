#!/bin/sh
# Runs once, when cloud-init has installed the packages and written the
# configuration: checks all of it with the services' own checkers, then starts.
set -eu

mount -o ro,umask=022 /dev/disk/by-label/CIDATA /mnt
install -m 0755 /mnt/bootd /usr/local/bin/bootd
umount /mnt

mkdir -p /srv/content /srv/site /srv/tftp
for loader in ipxe.efi ipxe-arm64.efi undionly.kpxe; do
	if [ -f "/usr/lib/ipxe/$loader" ]; then cp "/usr/lib/ipxe/$loader" /srv/tftp/; fi
done
test -f /srv/tftp/ipxe.efi
echo 'LABEL=CONTENT /srv/content vfat ro,nofail,umask=022 0 0' >>/etc/fstab
rm -f /etc/nginx/sites-enabled/default
ln -sf ../sites-available/lab /etc/nginx/sites-enabled/lab

cloud-init schema --system
if [ -x /usr/sbin/dhcpd ]; then dhcpd -t -cf /etc/dhcp/dhcpd.conf; fi
if [ -x /usr/sbin/dnsmasq ]; then dnsmasq --test; fi
nginx -t
nft -c -f /etc/nftables.conf

# our units stand in for init scripts; a unit of the package itself is better,
# but each is started again if it dies, or if lab0 had no address yet
for unit in isc-dhcp-server tftpd-hpa nginx; do
	if [ -f "/usr/lib/systemd/system/$unit.service" ]; then rm -f "/etc/systemd/system/$unit.service"; fi
	mkdir -p "/etc/systemd/system/$unit.service.d"
	printf '[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestart=on-failure\nRestartSec=1\n' \
		>"/etc/systemd/system/$unit.service.d/lab.conf"
done

rm -f /usr/sbin/policy-rc.d
sysctl --quiet --system
systemctl daemon-reload
dhcp=isc-dhcp-server
if [ -x /usr/sbin/dnsmasq ]; then dhcp=dnsmasq; fi
systemctl --no-pager enable nftables "$dhcp" tftpd-hpa nginx bootd lab-wake
systemctl --no-pager restart systemd-resolved nftables "$dhcp" tftpd-hpa nginx bootd lab-wake
/usr/local/sbin/lab-content
# what was configured outlives a power cut
sync
