-- The examples of the page "Fixtures", as written there, in the older spelling. The fixtures are in tests/fixtures.

test("using a fixture", function(t)
	-- example
	local vm = provium.fixture("minimal_vfs")

	-- securityfs is already mounted — the fixture set it up
	local r = vm:exec("ls /sys/kernel/security/")
	assert(r.ok)
	-- end
	t:assert_contains(vm:read_file("/proc/mounts"), " /sys/kernel/security securityfs ")
	-- example
	vm:shutdown()
	-- end
	t:assert_eq(vm:state(), "shutdown")
end)

test("writing a fixture", function(t)
	local first, second = provium.fixture("minimal_vfs"), provium.fixture("minimal_vfs")
	t:assert_eq(first:profile(), "minimal")
	t:assert(first:exec("touch /run/mine").ok)
	t:assert(not second:exec("test -e /run/mine").ok, "they are the same guest")
	provium.shutdown_all()
end)

test("a more complex fixture", function(t)
	local vm = provium.fixture("kacs_sd")
	for _, path in ipairs({"/", "/bin", "/sbin", "/dev", "/etc", "/tmp"}) do
		local r = vm:exec("cat /run/descriptors" .. path .. "/descriptor")
		t:assert(r.ok, path .. " has no descriptor")
		t:assert_eq(r.stdout:trim(), "S-1-5-18 S-1-5-18 (A;;FA;;;S-1-1-0) 7", path)
	end
	vm:shutdown()
end)

test("fixture nesting, and that a fixture is built once", function(t)
	local above, below, again = provium.fixture("kacs_sd_on_kacs"), provium.fixture("kacs"), provium.fixture("kacs")
	local built = below:exec("cat /run/kacs")
	t:assert_eq(#built.stdout:trim(), 36)
	assert_eq(built.stdout, above:exec("cat /run/kacs").stdout)
	assert_eq(built.stdout, again:exec("cat /run/kacs").stdout)
	assert_eq("kacs_sd\n", above:exec("cat /run/kacs_sd").stdout)
	t:assert(not below:exec("test -e /run/kacs_sd").ok)
	provium.shutdown_all()
end)
