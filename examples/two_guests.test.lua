-- Two guests side by side: same kernel, different worlds. Booted together, so the second one costs no extra waiting.
provium:vm("left", "linux", {memory = "128M", kernel_cmdline_append = "side=left"})
provium:vm("right", "linux", {memory = "160M", kernel_cmdline_append = "side=right"})
provium:boot()

test("each has its own kernel, command line and memory", function(t)
	for _, side in ipairs({"left", "right"}) do
		t:assert_contains(provium:vm(side):read_file("/proc/cmdline"), "side=" .. side)
	end
	t:assert_neq(provium.left:read_file("/proc/meminfo"), provium.right:read_file("/proc/meminfo"))
	t:assert_neq(provium.left:cid(), provium.right:cid())
end)

test("files do not leak from one to the other", function(t)
	provium.left:write_file("/tmp/only-left", "x")
	t:assert_eq(provium.left:stat("/tmp/only-left").size, 1)
	t:assert(not pcall(provium.right.stat, provium.right, "/tmp/only-left"), "right sees left's file")
end)

test("a paused guest stands still while the other works", function(t)
	local left, right = provium.left, provium.right
	left:pause()
	t:assert_eq(left:state(), "paused")
	right:run("true"):assert_ok()
	local ok, err = pcall(left.run, left, "true")
	t:assert(not ok, "a paused guest answered")
	t:assert_contains(tostring(err), "is paused; use resume()")
	left:resume()
	left:run("true"):assert_ok()
end)

test("one can power off without the other", function(t)
	provium.right:power_button()
	t:assert_eq(provium.right:state(), "shutdown")
	provium.left:run("true"):assert_ok()
end)
