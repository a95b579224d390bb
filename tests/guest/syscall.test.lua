-- System calls and memory of the agent (spec 7.6, 11) against a real guest kernel.
local sys = provium.sys
local vm = provium:vm("v", "linux", {memory = "384M"}):boot()

local function ok(t, result, what)
	t:assert_eq(result.errno, 0, (what or "call") .. ": errno " .. result.errno)
	return result.ret
end

local function pipe(t)
	local made = vm:syscall("pipe2", {args = {0, sys.O_CLOEXEC}, bufs = {("\0"):rep(8)}, ptrs = {0}})
	ok(t, made, "pipe2")
	return string.unpack("<i4i4", made.out_bufs[1])
end

test("one process issues all calls, by number and by name", function(t)
	local pid = ok(t, vm:syscall(39))
	t:assert_eq(vm:syscall("getpid").ret, pid)
	t:assert_eq(vm:run("cat /proc/" .. pid .. "/comm").stdout:match("%S+"), "provium-agent")
end)

test("descriptors persist between calls", function(t)
	local path = "/tmp/made\0"
	local fd = ok(t, vm:syscall("openat", {args = {-100, 0, sys.O_CREAT | sys.O_RDWR, tonumber("640", 8)}, bufs = {path}, ptrs = {1}}), "openat")
	t:assert_eq(ok(t, vm:syscall("write", {args = {fd, 0, 7}, bufs = {"content"}, ptrs = {1}})), 7)
	t:assert_eq(vm:read_file("/tmp/made"), "content")
	t:assert_eq(ok(t, vm:syscall("lseek", fd, -3, sys.SEEK_CUR)), 4)
	local got = vm:syscall("read", {args = {fd, 0, 16}, bufs = {("."):rep(16)}, ptrs = {1}})
	t:assert_eq(got.ret, 3)
	t:assert_eq(got.out_bufs[1], "ent" .. ("."):rep(13))
	ok(t, vm:syscall("close", fd))
	t:assert_eq(vm:syscall("close", fd).errno, sys.EBADF)
end)

test("what the kernel refuses is a result", function(t)
	local r = vm:syscall("openat", {args = {-100, 0, 0}, bufs = {"/nowhere\0"}, ptrs = {1}})
	t:assert_eq(r.ret, -1)
	t:assert_eq(r.result, -1)
	t:assert_eq(sys.errno_name(r.errno), "ENOENT")
	t:assert_eq(vm:syscall(5000).errno, sys.ENOSYS)
	t:assert_eq(vm:syscall(-1).errno, sys.ENOSYS)
end)

test("buffers refer to buffers", function(t)
	local from, to = pipe(t)
	local vectors = string.pack("<i8i8i8i8", 0, 3, 0, 2)
	local wrote = vm:syscall("writev", {
		args = {to, 0, 2}, bufs = {vectors, "abc", "de"}, ptrs = {1}, nested = {{1, 3, 16}, {1, 2, 0}},
	})
	t:assert_eq(ok(t, wrote), 5)
	t:assert_eq(wrote.out_bufs[2] .. wrote.out_bufs[3], "abcde")
	t:assert_eq(vm:syscall("read", {args = {from, 0, 5}, bufs = {"....."}, ptrs = {1}}).out_bufs[1], "abcde")
end)

test("a kernel that writes behind a buffer gets a fault there", function(t)
	for _, len in ipairs({1, 16, 4096, 5000}) do
		local r = vm:syscall("uname", {bufs = {("x"):rep(len)}, ptrs = {0}})
		if len < 390 then t:assert_eq(r.errno, sys.EFAULT, "length " .. len) else ok(t, r) end
	end
	t:assert_eq(vm:run("true").exit_code, 0)
end)

test("buffers of 16 MiB, and 30000 of them", function(t)
	local big = ("provium "):rep(2 << 20)
	local r = vm:syscall("getpid", {bufs = {big}})
	t:assert(r.out_bufs[1] == big, "the content differs")
	local many = {}
	for i = 1, 30000 do many[i] = tostring(i) end
	r = vm:syscall("getpid", {bufs = many})
	for i = 1, 30000 do
		if r.out_bufs[i] ~= many[i] then t:fail("buffer " .. i .. " is `" .. r.out_bufs[i] .. "`") end
	end
end)

test("what would end the agent raises, its neighbours work", function(t)
	for _, name in ipairs({"exit", "exit_group", "execve", "execveat", "rt_sigreturn"}) do
		local fine, why = pcall(vm.syscall, vm, name, 0)
		t:assert(not fine, name .. " was taken")
		t:assert_contains(tostring(why), "vm:syscall: ")
	end
	local pid = ok(t, vm:syscall("fork"), "fork")
	t:assert(pid > 1, "pid " .. pid)
	t:assert_eq(vm:syscall("clone", sys.CLONE_SIGHAND, 0).errno, sys.EINVAL)
	t:assert_eq(vm:syscall("clone3", {args = {0, 64}, bufs = {("\0"):rep(64)}, ptrs = {0}}).errno, 0)
	t:assert_eq(vm:run("true").exit_code, 0)
end)

test("calls that block hold up nobody", function(t)
	local from, to = pipe(t)
	local waiting = {}
	for i = 1, 60 do
		waiting[i] = vm:syscall_async("read", {args = {from, 0, 1}, bufs = {"?"}, ptrs = {1}})
	end
	t:assert(not vm:is_quiescent())
	t:assert_eq(vm:run("echo still here").stdout, "still here\n")
	local sent, seen = {}, {}
	for i = 1, 60 do sent[i] = string.char(i) end
	ok(t, vm:syscall("write", {args = {to, 0, 60}, bufs = {table.concat(sent)}, ptrs = {1}}))
	for i = 60, 1, -1 do
		local r = waiting[i]:await()
		t:assert_eq(r.ret, 1)
		t:assert(not seen[r.out_bufs[1]], "a byte came twice")
		seen[r.out_bufs[1]] = true
	end
	local again, why = pcall(waiting[1].await, waiting[1])
	t:assert(not again)
	t:assert_contains(tostring(why), "syscall_async: handle already awaited")
	t:assert(vm:is_quiescent())
end)

test("handles that nobody awaits end with the test", function(t)
	local from = pipe(t)
	for i = 1, 5 do vm:syscall_async("read", {args = {from, 0, 1}, bufs = {"?"}, ptrs = {1}}) end
	t:assert(not vm:is_quiescent())
end)

test("they have been interrupted in the kernel", function(t)
	wait_until(function() return vm:is_quiescent() end, {timeout = 20, desc = "the last words of the agent"})
end)

test("a handle fails when its guest goes, and says so", function(t)
	local other = provium:vm("other", "linux", {memory = "256M"}):boot()
	local handle = other:syscall_async("pause")
	other:shutdown()
	local fine, why = pcall(handle.await, handle)
	t:assert(not fine)
	t:assert_contains(tostring(why), "vm `other`: syscall_async: ")
	fine, why = pcall(other.syscall, other, 39)
	t:assert_contains(tostring(why), "vm `other`")
end)

test("ioctl takes open files", function(t)
	vm:write_file("/tmp/ioctl", "0123456789")
	local file = vm:open_file("/tmp/ioctl", {read = true})
	file:read(4)
	local r = vm:ioctl(file, sys.FIONREAD, ("\0"):rep(4))
	t:assert_eq(string.unpack("<i4", r.out_data), 6)
	t:assert_eq(vm:ioctl(file:fd(), sys.FIONREAD, ("\0"):rep(4)).out_data, r.out_data)
	local fine, why = pcall(vm.ioctl, vm, file, sys.TCGETS, ("\0"):rep(64))
	t:assert(not fine)
	t:assert_contains(tostring(why), "ioctl `/tmp/ioctl`: Inappropriate ioctl for device")
	file:close()
end)

test("memory that a call has mapped is read and written", function(t)
	local prot = sys.PROT_READ | sys.PROT_WRITE
	local at = ok(t, vm:syscall("mmap", 0, 8192, prot, sys.MAP_PRIVATE | sys.MAP_ANONYMOUS, -1, 0), "mmap")
	t:assert_eq(vm:write_mem(at + 4094, "a\0b\255"), true)
	t:assert_eq(vm:read_mem(at + 4093, 6), "\0a\0b\255\0")
	ok(t, vm:syscall("mprotect", at, 4096, sys.PROT_READ))
	local done, code = vm:write_mem(at, "x")
	t:assert_eq(done, nil)
	t:assert_eq(code, sys.EFAULT)
	ok(t, vm:syscall("munmap", at, 8192))
	done, code = vm:read_mem(at, 1)
	t:assert_eq(done, nil)
	t:assert_eq(code, sys.EFAULT)
end)
