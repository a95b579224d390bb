-- Scopes and automatic clean-up with real guests (spec 6).
local shared = provium:vm("shared", "linux", {memory = "128M"}):boot()
local leaked

test("a test sees the file's VMs and its own", function(t)
	t:assert_eq(provium:vm("shared"), shared)
	t:assert_eq(provium.shared, shared)
	leaked = provium:vm("own", "linux", {memory = "128M"}):boot()
	t:assert_eq(provium.own, leaked)
	shared:write_file("/tmp/state", "kept")
end)

test("its own VM is closed after it, the file's one keeps its state", function(t)
	t:assert_eq(leaked:state(), "shutdown")
	t:assert_eq(provium.own, nil)
	t:assert_eq(shared:read_file("/tmp/state"), "kept")
	local err = tostring(t:assert_raises(function() provium:vm("shared", "linux") end))
	t:assert_contains(err, "name already declared at a parent scope (lab `provium`)")
end)

