-- A system call's errno: what the kernel must refuse, and with which error. Each line below is a promise of the kernel's to user space.
local vm = provium:vm("kernel", "linux", {memory = "128M"}):boot()

-- Runs a call that must fail; returns the kernel's own words.
local function refused(t, call, ...)
	local ok, err = pcall(call, vm, ...)
	t:assert(not ok, "the kernel allowed it")
	return tostring(err)
end

test("open of a missing file is ENOENT", {spec = "open(2)"}, function(t)
	t:assert_contains(refused(t, vm.read_file, "/no/such/file"), "No such file or directory")
end)

test("open of a directory for writing is EISDIR", {spec = "open(2)"}, function(t)
	t:assert_contains(refused(t, vm.write_file, "/tmp", "x"), "Is a directory")
end)

test("a path through a file is ENOTDIR", {spec = "path_resolution(7)"}, function(t)
	vm:write_file("/tmp/file", "")
	t:assert_contains(refused(t, vm.stat, "/tmp/file/below"), "Not a directory")
end)

test("a loop of links is ELOOP", {spec = "path_resolution(7)"}, function(t)
	vm:run("ln -s b /tmp/a; ln -s a /tmp/b"):assert_ok()
	t:assert_contains(refused(t, vm.read_file, "/tmp/a"), "Too many levels of symbolic links")
end)

test("a name over 255 bytes is ENAMETOOLONG", {spec = "path_resolution(7)"}, function(t)
	t:assert_contains(refused(t, vm.write_file, "/tmp/" .. ("n"):rep(256), ""), "File name too long")
	vm:write_file("/tmp/" .. ("n"):rep(255), "")
end)

test("removing a busy mount point is EBUSY", {spec = "rmdir(2)"}, function(t)
	local r = vm:run("rmdir", {"/proc"})
	t:assert_eq(r.exit_code, 1)
	t:assert_contains(r.stderr, "busy")
end)
