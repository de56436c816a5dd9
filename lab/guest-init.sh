#!/bin/bash
# Process 1 of the guest: lays a throw-away tmpfs over the host's root file system, mounts what a
# system needs, runs the job, hands its exit code to the host and switches the machine off.
#
# The host's side is guest.ts. It leaves in the job directory (`icvpn.job=` on the kernel's
# command line):
#   command   bash script: the environment, the directory and the command
#   writable  host directories to mount read-write, one a line
# and finds there afterwards:
#   exit-code the command's; absent if the guest died first
# Guest terminals 1 and 2 are the host's pipes for stdout and stderr.
set -u
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root

power_off() {
  echo o >/proc/sysrq-trigger
  sleep 60 # the trigger returns before the machine is off, and process 1 must not end
}
fail() {
  echo "icvpn lab: guest: $*" >/dev/console
  power_off
}

mount -t proc proc /proc
for word in $(</proc/cmdline); do
  case $word in icvpn.job=*) job=${word#icvpn.job=} ;; esac
done

# The new root: the host's below, memory above. It is put together under /mnt, which hides nothing
# of the host's since the overlay's lower layer is not touched by mounts made here.
mount -t tmpfs -o mode=755 overlay /mnt && mkdir /mnt/upper /mnt/work /mnt/root || fail 'no tmpfs'
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work root /mnt/root &&
  cd /mnt/root || fail 'no overlay'
mount -t proc proc proc
mount -t sysfs sys sys
mount -t devtmpfs dev dev
mkdir -p dev/pts dev/shm
mount -t devpts -o ptmxmode=666 pts dev/pts
mount -t tmpfs shm dev/shm
mount -t tmpfs -o mode=755 run run
mkdir -p run/lock run/netns run/icvpn-lab
mount -t hostfs -o "$job" job run/icvpn-lab || fail "cannot mount $job"
while IFS= read -r directory; do
  mkdir -p "./$directory"
  mount -t hostfs -o "$directory" host "./$directory" || fail "cannot mount $directory"
done <run/icvpn-lab/writable
mkdir -p mnt/old
pivot_root . mnt/old && cd / && umount -l /mnt/old && rmdir /mnt/old || fail 'no pivot_root'
mount --make-rshared / # as systemd does; `ip netns exec` unshares from it

ln -sfn /proc/self/fd /dev/fd
ln -sfn fd/0 /dev/stdin
ln -sfn fd/1 /dev/stdout
ln -sfn fd/2 /dev/stderr
echo icvpn-lab >/proc/sys/kernel/hostname
# libuv maps the rings of io_uring when it can, and User Mode Linux loses count of such pages: after
# some thousand of them the guest panics. Kernels before 6.6 cannot switch it off; libuv can.
if [ -e /proc/sys/kernel/io_uring_disabled ]; then
  echo 2 >/proc/sys/kernel/io_uring_disabled
else
  export UV_USE_IO_URING=0
fi
ip link set lo up

# Through pipes: a program that sees a terminal as its stdout behaves differently, and process 1
# must know that everything has reached the host before it switches off.
stty -F /dev/tty1 raw -echo
stty -F /dev/tty2 raw -echo
mkfifo /run/stdout /run/stderr
cat /run/stdout >/dev/tty1 &
out=$!
cat /run/stderr >/dev/tty2 &
err=$!
setsid bash /run/icvpn-lab/command </dev/null >/run/stdout 2>/run/stderr &
wait $!
code=$?
# Whatever it left running ends now. What has been written still gets out, however slowly it is
# read; the copying ends when nobody holds the pipes any more.
while kill -0 $out 2>/dev/null || kill -0 $err 2>/dev/null; do
  for process in /proc/[0-9]*; do
    case ${process#/proc/} in
      1 | $out | $err) ;;
      *) kill -KILL "${process#/proc/}" 2>/dev/null ;;
    esac
  done
  sleep 0.02
done
echo $code >/run/icvpn-lab/exit-code
power_off
