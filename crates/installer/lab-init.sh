#!/bin/sh
# The first program in the target's initramfs (rdinit=/lab-init), before the
# distribution's own. Needs no more than sh, mount and modprobe.

export PATH=/usr/sbin:/usr/bin:/sbin:/bin

[ -d /proc/self ] || { mkdir -p /proc; mount -t proc proc /proc; }
[ -d /sys/class ] || { mkdir -p /sys; mount -t sysfs sysfs /sys; }
[ -c /dev/null ] && [ -c /dev/kmsg ] || { mkdir -p /dev; mount -t devtmpfs dev /dev; }
exec </dev/console >/dev/console 2>&1

echo "lab: initramfs started"

# The devices that are there name their drivers. One modprobe for all of them:
# under emulation starting a program is what takes time.
drivers() {
    names=
    for file in /sys/bus/*/devices/*/modalias; do
        [ -r "$file" ] && read -r name <"$file" && names="$names $name"
    done
    # shellcheck disable=SC2086 # one word each
    modprobe -a -q -b $names
}

drivers
for module in virtio_pci virtio_blk virtio_net virtio_scsi ext4; do
    modprobe -q "$module" || [ -d "/sys/module/$module" ] || echo "lab: no module $module"
done
drivers # of what those buses have shown

# It restarts or powers off the machine itself; it comes back only if it can't.
/lab-installer
echo "lab: the installer ended with $?, powering off in 30 seconds"
sleep 30
/lab-installer --power-off
echo "lab: can't power off either; turn the machine off"
while :; do sleep 3600; done
