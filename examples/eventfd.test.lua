-- The edge cases of one system call, eventfd2, tested from outside: no C, no build, a real kernel.
local sys = provium.sys
local vm = provium:vm("kernel", "linux", {memory = "256M"}):boot()

local function eventfd(t, value, flags)
	local r = vm:syscall("eventfd2", value, flags or 0)
	t:assert_eq(r.errno, 0, "eventfd2")
	return r.ret
end

local function write(fd, value)
	return vm:syscall("write", {args = {fd, 0, 8}, bufs = {string.pack("<I8", value)}, ptrs = {1}})
end

local function read(fd)
	local r = vm:syscall("read", {args = {fd, 0, 8}, bufs = {("\0"):rep(8)}, ptrs = {1}})
	return r, string.unpack("<I8", r.out_bufs[1])
end

local function fails(t, r, errno)
	t:assert_eq(r.ret, -1)
	t:assert_eq(sys.errno_name(r.errno), errno)
end

test("a read takes the whole counter", function(t)
	local fd = eventfd(t, 3, sys.EFD_NONBLOCK)
	t:assert_eq(write(fd, 4).ret, 8)
	local r, value = read(fd)
	t:assert_eq(r.ret, 8)
	t:assert_eq(value, 7)
	fails(t, read(fd), "EAGAIN")
end)

test("a semaphore gives one at a time", function(t)
	local fd = eventfd(t, 2, sys.EFD_SEMAPHORE | sys.EFD_NONBLOCK)
	for _ = 1, 2 do
		local _, value = read(fd)
		t:assert_eq(value, 1)
	end
	fails(t, read(fd), "EAGAIN")
end)

test("the counter ends before the largest number", function(t)
	local fd = eventfd(t, 0, sys.EFD_NONBLOCK)
	t:assert_eq(write(fd, -2).ret, 8) -- 2^64 - 2
	fails(t, write(fd, 1), "EAGAIN")
	fails(t, write(fd, -1), "EINVAL")
	local _, value = read(fd)
	t:assert_eq(value, -2)
end)

test("short buffers and bad addresses", function(t)
	local fd = eventfd(t, 1, sys.EFD_NONBLOCK)
	fails(t, vm:syscall("read", {args = {fd, 0, 7}, bufs = {("\0"):rep(7)}, ptrs = {1}}), "EINVAL")
	-- Nothing is mapped at 0.
	fails(t, vm:syscall("read", fd, 0, 8), "EFAULT")
	fails(t, vm:syscall("write", fd, 0, 8), "EFAULT")
	fails(t, vm:syscall("eventfd2", 0, 0x10000), "EINVAL")
end)

test("a blocked read is woken by a write", function(t)
	local fd = eventfd(t, 0)
	local buffer = {args = {fd, 0, 8}, bufs = {("\0"):rep(8)}, ptrs = {1}}
	local waiting = vm:syscall_async("read", buffer)
	t:assert_eq(vm:syscall("getpid").errno, 0, "a call beside the blocked one")
	t:assert_eq(write(fd, 42).ret, 8)
	local r = waiting:await()
	t:assert_eq(r.ret, 8)
	t:assert_eq(string.unpack("<I8", r.out_bufs[1]), 42)
end)

test("thousands of writes add up", function(t)
	local fd = eventfd(t, 0)
	local at = vm:syscall("mmap", 0, 4096, sys.PROT_READ | sys.PROT_WRITE, sys.MAP_PRIVATE | sys.MAP_ANONYMOUS, -1, 0).ret
	vm:write_mem(at, string.pack("<I8", 3))
	local results = vm:batch(function(b)
		for _ = 1, 2000 do b:syscall("write", fd, at, 8) end
	end)
	for _, each in ipairs(results) do t:assert_eq(each.ok.ret, 8) end
	local _, value = read(fd)
	t:assert_eq(value, 6000)
end)
