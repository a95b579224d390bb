-- System calls by name, with the kernel's own names for flags and errors: what a test of a kernel interface looks like.
local vm = provium:vm("v", "linux", {memory = "128M"}):boot()
local sys = provium.sys

-- What the call returned; its failure fails the test with the error's name.
local function ok(r) return assert(r.errno == 0 and r.ret, sys.errno_name(r.errno)) end

local function path(text) return {args = {0}, bufs = {text .. "\0"}, ptrs = {0}} end

test("inotify tells of a file that appears", function(t)
	local fd = ok(vm:syscall("inotify_init1", sys.IN_NONBLOCK | sys.IN_CLOEXEC))
	ok(vm:syscall("inotify_add_watch", {args = {fd, 0, sys.IN_CREATE | sys.IN_DELETE}, bufs = {"/run\0"}, ptrs = {1}}))
	local function read() return vm:syscall("read", {args = {fd, 0, 4096}, bufs = {("\0"):rep(4096)}, ptrs = {1}}) end
	t:assert_eq(sys.errno_name(read().errno), "EAGAIN")

	vm:run("touch /run/appeared; rm /run/appeared"):assert_ok()
	local r = read()
	local events, at = {}, 1
	while at <= r.ret do
		-- struct inotify_event: watch, mask, cookie, length of the name; then the name
		local _, mask, _, len = string.unpack("<i4I4I4I4", r.out_bufs[1], at)
		local name = string.unpack("z", r.out_bufs[1], at + 16)
		events[#events + 1] = (mask == sys.IN_CREATE and "create " or mask == sys.IN_DELETE and "delete " or mask .. " ") .. name
		at = at + 16 + len
	end
	t:assert_eq(table.concat(events, ", "), "create appeared, delete appeared")
	ok(vm:syscall("close", fd))
end)

test("a sealed memfd cannot grow", function(t)
	local create = path("sealed")
	create.args = {0, sys.MFD_ALLOW_SEALING}
	local fd = ok(vm:syscall("memfd_create", create))
	ok(vm:syscall("ftruncate", fd, 4096))
	ok(vm:syscall("fcntl", fd, sys.F_ADD_SEALS, sys.F_SEAL_GROW))
	t:assert_eq(sys.errno_name(vm:syscall("ftruncate", fd, 8192).errno), "EPERM")
	t:assert_eq(ok(vm:syscall("fcntl", fd, sys.F_GET_SEALS)), sys.F_SEAL_GROW)
	ok(vm:syscall("ftruncate", fd, 0))
	ok(vm:syscall("close", fd))
end)

test("a socket of a family that does not fit its type", function(t)
	t:assert_eq(sys.errno_name(vm:syscall("socket", sys.AF_UNIX, sys.SOCK_STREAM, sys.IPPROTO_TCP).errno), "EPROTONOSUPPORT")
	local r = vm:syscall("socketpair", {args = {sys.AF_UNIX, sys.SOCK_STREAM | sys.SOCK_CLOEXEC, 0, 0}, bufs = {("\0"):rep(8)}, ptrs = {3}})
	ok(r)
	local a, b = string.unpack("<i4i4", r.out_bufs[1])
	t:assert_eq(ok(vm:syscall("write", {args = {a, 0, 5}, bufs = {"hello"}, ptrs = {1}})), 5)
	ok(vm:syscall("close", a))
	local got = vm:syscall("read", {args = {b, 0, 64}, bufs = {("\0"):rep(64)}, ptrs = {1}})
	t:assert_eq(got.out_bufs[1]:sub(1, got.ret), "hello")
	ok(vm:syscall("close", b))
end)

test("a misspelled flag is an error, not a zero", function(t)
	local err = t:assert_raises(function() return sys.O_CRAET end)
	t:assert_contains(tostring(err), "did you mean `O_CREAT`")
	t:assert_contains(tostring(t:assert_raises(function() vm:syscall("opneat") end)), "`openat`")
end)
