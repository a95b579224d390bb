-- The older spelling in a real guest (docs/legacy.md); its page of the documentation is in tests/guest/seeds.

local vm = provium.create("linux")

-- Files of the host at their places in the guest; a relative path starts at the working directory.
local tool = os.tmpname()
local file = assert(io.open(tool, "w"))
file:write("#!/bin/sh\necho '{\"word\": \"'$1'\", \"n\": [1, 2]}'\n")
file:close()
assert(os.execute("chmod 755 " .. tool))
vm:boot({memory = "128M", cpus = 1, files = {["/bin/tool"] = tool}})
os.remove(tool)

local order = {}

test("commands have ok as a field", function()
	order[#order + 1] = "first"
	local r = vm:exec("echo out; echo err >&2")
	assert(r.ok)
	assert_eq(0, r.exit_code)
	assert_eq("out\n", r.stdout)
	assert_eq("out", r.stdout:trim())
	assert(r.stderr.contains("er") and r.stderr:starts_with("err"))
	assert_eq(false, vm:exec("exit 3").ok)
	assert_eq(3, vm:exec("exit 3").exit_code)
	assert_eq("a b", vm:exec("echo", {"a b"}).stdout:trim())
end)

test("output as JSON, by a tool from the host", function()
	local value = vm:json("tool x")
	assert_eq("x", value.word)
	assert_eq(2, value.n[2])
	local ok, err = pcall(vm.json, vm, "exit 1")
	assert(not ok)
	assert_contains(tostring(err), "command failed")
end)

test("virtual filesystems, as often as one likes", function()
	vm:exec("umount /sys/kernel/security")
	vm:mount_vfs()
	vm:mount_vfs()
	local mounts = vm:exec("cat /proc/mounts").stdout
	for _, each in ipairs({" /proc proc ", " /sys sysfs ", " /dev devtmpfs ", " /sys/kernel/security securityfs "}) do
		local _, count = mounts:gsub(each, "")
		assert_eq(1, count, each)
	end
end)

test("the kernel's log", function()
	assert(vm:exec("echo '<4>a line of a [test]' > /dev/kmsg").ok)
	assert_contains(vm:dmesg(), "Linux version")
	assert_contains(vm:dmesg("a line of a [test]"), "[test]\n")
	assert_contains(vm:dmesg("line of a %[t%w+"), "[test]\n")
	assert_eq("", vm:dmesg("nothing has this in it"))
end)

test("system calls with buffers by the places of arguments", function()
	local sys = provium.sys
	local fd = vm:syscall_buf("openat", {sys.AT_FDCWD, 0, sys.O_CREAT | sys.O_RDWR, 420}, 1, "/run/buf\0")
	assert(fd >= 0, sys.errno_name(fd))
	assert_eq(3, vm:syscall_buf("write", {fd, 0, 3}, 1, "abc"))
	local ret, out = vm:syscall_buf("pread64", {fd, 0, 8, 1}, 1, 8)
	assert_eq(2, ret)
	assert_eq("bc", out:sub(1, ret))
	ret, out = vm:syscall_bufs("renameat", {sys.AT_FDCWD, 0, sys.AT_FDCWD, 0}, {[1] = "/run/buf\0", [3] = "/run/renamed\0"})
	assert_eq(0, ret)
	assert_eq("/run/renamed\0", out[3])
	-- struct iovec of two: address and length each
	local vector = string.pack("<I8I8I8I8", 0, 2, 0, 1)
	local read, _, behind = vm:syscall_ptr("preadv", {fd, 0, 2, 0, 0}, 1, vector, {[0] = 2, [16] = 1})
	assert_eq(3, read)
	assert_eq("ab|c", behind[0] .. "|" .. behind[16])
	assert_eq(1, vm:syscall("lseek", fd, 1, sys.SEEK_SET).ret)
	ret, out = vm:ioctl_buf(fd, sys.FIONREAD, 4)
	assert_eq(0, ret)
	assert_eq(2, (string.unpack("<i4", out)))
	assert_eq(-sys.ENOTTY, vm:ioctl_buf(fd, sys.TCGETS, 64))
	assert_eq(0, vm:syscall("close", fd).ret)
end)

test("jobs in the background", function()
	local job = vm:background("echo begun; sleep 600")
	assert(vm:exec("kill -0 " .. job.pid).ok)
	vm:job_kill(job)
	local r = vm:job_wait(job, 60)
	assert_eq(9, r.signal)
	assert_eq("begun\n", r.stdout)
	r = vm:job_wait(vm:background("read line; exit 4").id)
	assert_eq(4, r.exit_code)
	r = vm:job_wait(vm:background("sleep 600"), 1)
	assert(r.timed_out and not r.ok)
end)

test("a worker", function()
	local worker = vm:spawn()
	assert(worker:exec("true").ok)
	assert(vm:syscall("getpid").ret ~= worker:syscall("getpid").ret)
	worker:kill()
	worker:join()
end)

test("waiting", function()
	vm:exec("(sleep 1; touch /run/there) > /dev/null 2>&1 &")
	assert(vm:wait_until(function() return vm:exec("test -e /run/there").ok end, {desc = "/run/there"}))
end)

test("numbers in bytes", function()
	vm:write_file("/run/bytes", provium.pack("u32 u32 u64", 1, 0xfffffffe, 3))
	local a, b, c = provium.unpack("u32 u32 u64", vm:read_file("/run/bytes"))
	assert_eq("1 4294967294 3", table.concat({a, b, c}, " "))
end)

test("one with a context waits until the file is loaded", function(t)
	t:assert_eq(table.concat(order, " "), "first end")
	t:assert_eq(vm:state(), "shutdown")
end)

order[#order + 1] = "end"
provium.shutdown_all()
