-- What an unprivileged user may not do. A worker is a process of the test's own in the guest: it gives up its privileges with plain system
-- calls, and the VM keeps those that it has.
local vm = provium:vm("host", "linux", {memory = "128M"}):boot()

local SETUID, SETGID, MOUNT = 105, 106, 165
local EPERM = 1
local NOBODY = 65534

local function unprivileged(t)
	local worker = vm:spawn_worker()
	t:assert_eq(worker:syscall(SETGID, NOBODY).ret, 0)
	t:assert_eq(worker:syscall(SETUID, NOBODY).ret, 0)
	return worker
end

test("privileges do not come back", function(t)
	local worker = unprivileged(t)
	local result = worker:syscall(SETUID, 0)
	t:assert_eq(result.ret, -1)
	t:assert_eq(result.errno, EPERM)
	t:assert_eq(worker:run("id -u").stdout, NOBODY .. "\n")
	t:assert_eq(vm:run("id -u").stdout, "0\n")
end)

test("mounting is for the privileged", function(t)
	local arguments = {args = {0, 0, 0, 0, 0}, bufs = {"none\0", "/mnt\0", "tmpfs\0"}, ptrs = {0, 1, 2}}
	vm:mkdir("/mnt", {parents = true})
	t:assert_eq(unprivileged(t):syscall(MOUNT, arguments).errno, EPERM)
	t:assert_eq(vm:syscall(MOUNT, arguments).ret, 0)
end)

test("so are files of others, and their programs", function(t)
	local worker = unprivileged(t)
	vm:write_file("/etc/secret", "secret")
	vm:run("chmod 600 /etc/secret"):assert_ok()
	t:assert_contains(tostring(t:assert_raises(function() worker:read_file("/etc/secret") end)), "Permission denied")

	local daemon = vm:run_async("sleep", {"600"})
	t:assert(not worker:run("kill " .. daemon:pid()):ok(), "an unprivileged user ended the daemon")
	t:assert_eq(daemon:status(), "running")
end)
