-- Every test begins with the guest as the lines up here left it, however the last test treated it.
provium.reset_between_tests = true
local vm = provium:vm("v", "linux", {memory = "256M"}):boot()
vm:write_file("/tmp/users", "alice\n")
vm:run("sysctl -w kernel.hostname=prepared"):assert_ok()

test("a test may delete what it likes", function(t)
	vm:run("rm /tmp/users; sysctl -w kernel.hostname=other; kill -9 -1"):assert_ok()
	t:assert_eq(vm:run("hostname").stdout, "other\n")
end)

test("a test may shut its guest down", function(t)
	t:assert_eq(vm:read_file("/tmp/users"), "alice\n")
	vm:shutdown()
end)

test("the next one finds all of it as it was", function(t)
	t:assert_eq(vm:state(), "booted")
	t:assert_eq(vm:read_file("/tmp/users"), "alice\n")
	t:assert_eq(vm:run("hostname").stdout, "prepared\n")
end)
