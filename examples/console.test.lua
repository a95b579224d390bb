-- The console: what the kernel says there from the first line on, and what it says about itself later.
local vm = provium:vm("v", "linux", {memory = "128M", kernel_cmdline_append = "loglevel=7"}):boot()

test("the log begins with the kernel's own banner", function(t)
	t:assert_contains(vm:console():read_log(), "Linux version")
end)

test("a message to the kernel log appears", function(t)
	vm:write_file("/dev/kmsg", "<3>the test was here\n")
	vm:console():expect("the test was here", 20)
end)

test("waiting for something that never comes ends with the name of it", function(t)
	local err = t:assert_raises(function() vm:console():expect("no such line", "200ms") end)
	t:assert_contains(tostring(err), "no such line")
end)
