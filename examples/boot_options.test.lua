-- Booting with another command line, other hardware, another time and other files: what a bring-up engineer changes all day.
test("a changed command line reaches kernel and user space", function(t)
	local vm = provium:vm("v", "linux", {memory = "128M"})
	vm:boot({kernel_cmdline_append = "loglevel=4 my.knob=42"})
	local line = vm:read_file("/proc/cmdline")
	t:assert_contains(line, "my.knob=42")
	t:assert_eq(vm:read_file("/proc/sys/kernel/printk"):match("^%d+"), "4")
end)

test("processors and memory are what was asked for", function(t)
	local vm = provium:vm("v", "linux", {memory = "192M", cpus = 2}):boot()
	t:assert_eq(vm:run("nproc").stdout, "2\n")
	local kib = tonumber(vm:read_file("/proc/meminfo"):match("MemTotal:%s+(%d+)"))
	t:assert(kib > 128 * 1024 and kib < 192 * 1024, "MemTotal is " .. kib .. " KiB")
end)

test("the clock starts where the test says", function(t)
	local vm = provium:vm("v", "linux", {memory = "128M", initial_time = 1700000000.5}):boot()
	local now = tonumber(vm:run("date +%s").stdout)
	t:assert(now >= 1700000000 and now < 1700000120, "the guest says " .. now)
end)

test("injected files are there before anything runs", function(t)
	local vm = provium:vm("v", "linux", {memory = "128M", files = {
		{path = "/etc/motd", content = "from the test\n"},
		{path = "/usr/local/bin/answer", content = "#!/bin/sh\necho 42\n", mode = 0x1ed},
	}}):boot()
	t:assert_eq(vm:read_file("/etc/motd"), "from the test\n")
	t:assert_eq(vm:run("/usr/local/bin/answer"):assert_ok().stdout, "42\n")
end)

test("a reset boots again, with the same options", function(t)
	local vm = provium:vm("v", "linux", {memory = "128M", kernel_cmdline_append = "boots=again"}):boot()
	vm:write_file("/tmp/gone", "x")
	vm:reset()
	t:assert_contains(vm:read_file("/proc/cmdline"), "boots=again")
	t:assert(not pcall(vm.stat, vm, "/tmp/gone"), "tmpfs survived a reset")
end)
