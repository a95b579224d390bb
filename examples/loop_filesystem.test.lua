-- A file system on a loop device: made, filled, unmounted, checked from outside, mounted read-only, and full.
local vm = provium:vm("fs", "linux", {memory = "256M"}):boot()

vm:run([[
	set -e
	dd if=/dev/zero of=/tmp/image bs=1M count=8 2>/dev/null
	mke2fs -F /tmp/image >/dev/null
	mkdir -p /mnt/fs
	mount -o loop -t ext2 /tmp/image /mnt/fs
]]):assert_ok()

test("what was written is there after a remount", function(t)
	vm:write_file("/mnt/fs/data", ("\0provium\xff"):rep(1000))
	vm:run("umount /mnt/fs && mount -o loop -t ext2 /tmp/image /mnt/fs"):assert_ok()
	t:assert_eq(vm:read_file("/mnt/fs/data"), ("\0provium\xff"):rep(1000))
end)

test("sizes and types survive", function(t)
	vm:run("mkdir /mnt/fs/dir && ln -s data /mnt/fs/link"):assert_ok()
	local st = vm:stat("/mnt/fs/data")
	t:assert_eq(st.size, 9000)
	t:assert_eq(st.entry_type, "file")
	t:assert_eq(vm:stat("/mnt/fs/dir").entry_type, "directory")
end)

test("a full file system says ENOSPC and keeps what it has", function(t)
	local ok, err = pcall(vm.write_file, vm, "/mnt/fs/huge", ("x"):rep(16 << 20))
	t:assert(not ok, "16 MiB fit into 8 MiB")
	t:assert_contains(tostring(err), "No space left on device")
	vm:run("rm -f /mnt/fs/huge"):assert_ok()
	t:assert_eq(#vm:read_file("/mnt/fs/data"), 9000)
end)

test("a read-only mount refuses writes", function(t)
	vm:run("mount -o remount,ro /mnt/fs"):assert_ok()
	local ok, err = pcall(vm.write_file, vm, "/mnt/fs/new", "x")
	t:assert(not ok, "the write went through")
	t:assert_contains(tostring(err), "Read-only file system")
end)
