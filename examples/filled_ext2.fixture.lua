-- A guest with a filled ext2 file system. This script runs once; tests get what it leaves behind, from the cache, in a moment.
local vm = provium:vm("fs", "linux", {memory = "256M"}):boot()

vm:run([[
	set -e
	dd if=/dev/zero of=/tmp/image bs=1M count=8 2>/dev/null
	mke2fs -F /tmp/image >/dev/null
	mkdir -p /mnt/fs
	mount -o loop -t ext2 /tmp/image /mnt/fs
	for i in $(seq 200); do echo "file $i" > /mnt/fs/$i; done
	sync
]]):assert_ok()

return vm:snapshot()
