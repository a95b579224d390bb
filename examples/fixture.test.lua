-- Destructive tests on one prepared guest: each takes a copy of its own, so none sees what another one broke.

test("all files are there", function(t)
	local vm = provium:vm_fixture("filled_ext2")
	t:assert_eq(vm:run("ls /mnt/fs | grep -c '^[0-9]'").stdout, "200\n")
	vm:run("rm -rf /mnt/fs/*"):assert_ok()
end)

test("a wiped superblock is refused at the next mount", function(t)
	local vm = provium:vm_fixture("filled_ext2")
	t:assert_eq(vm:run("ls /mnt/fs | grep -c '^[0-9]'").stdout, "200\n")
	vm:run("umount /mnt/fs && dd if=/dev/zero of=/tmp/image bs=1k seek=1 count=1 conv=notrunc 2>/dev/null"):assert_ok()
	local mount = vm:run("mount -o loop -t ext2 /tmp/image /mnt/fs")
	t:assert(mount.exit_code ~= 0, "it was mounted all the same")
end)

test("a full file system still lets files go", function(t)
	local vm = provium:vm_fixture("filled_ext2")
	local fill = vm:run("dd if=/dev/zero of=/mnt/fs/huge bs=1M")
	t:assert_contains(fill.stderr, "No space left on device")
	vm:run("rm /mnt/fs/1 && echo again > /mnt/fs/1 2>/dev/null; rm -f /mnt/fs/huge && echo again > /mnt/fs/1"):assert_ok()
	t:assert_eq(vm:read_file("/mnt/fs/1"), "again\n")
end)
