-- Testing how a kernel behaves in trouble. A panic, an oops or a hung task on any guest's console fails the test that runs, with the kernel's own
-- report as the reason; `expect_oops` is for tests that want one. The kernel here is the distribution's; with one of your own the same file tests yours.
local vm = provium:vm("patient", "linux", {memory = "256M"}):boot()

-- A file system that is frozen, so that who writes to it sleeps until it is thawed.
vm:run([[
	set -e
	dd if=/dev/zero of=/tmp/image bs=1M count=4 2>/dev/null
	mke2fs -F /tmp/image >/dev/null
	mkdir -p /mnt/frozen
	mount -o loop -t ext2 /tmp/image /mnt/frozen
]]):assert_ok()

test("the watchdog finds a writer that hangs", {expect_oops = true}, function(t)
	vm:write_file("/proc/sys/kernel/hung_task_timeout_secs", "1")
	vm:run("fsfreeze --freeze /mnt/frozen; touch /mnt/frozen/x > /dev/null 2>&1 &"):assert_ok()
	vm:console():expect("INFO: task touch:", 60)
	vm:console():expect("blocked for more than 1 seconds")
	-- It was only a report: the guest goes on.
	vm:write_file("/proc/sys/kernel/hung_task_timeout_secs", "0")
	vm:run("fsfreeze --unfreeze /mnt/frozen"):assert_ok()
	wait_until(function() return pcall(vm.stat, vm, "/mnt/frozen/x") end, {desc = "the writer went on"})
end)

test("a thawed file system hangs nobody", function(t)
	-- Without expect_oops: a report now would fail this test.
	vm:run("touch /mnt/frozen/y"):assert_ok()
end)

test("a panic is final, and a reset helps", {expect_oops = true}, function(t)
	vm:write_file("/tmp/x", "in memory only")
	local ok, err = pcall(vm.run, vm, "echo c > /proc/sysrq-trigger; sleep 1000")
	t:assert(not ok, "the guest survived")
	-- The command did not wait for its end: the error is the kernel's report, with its call trace.
	t:assert_contains(tostring(err), "kernel panic: Kernel panic - not syncing: sysrq triggered crash")
	t:assert_contains(tostring(err), "sysrq_handle_crash")
	vm:reset()
	t:assert(not pcall(vm.stat, vm, "/tmp/x"), "the memory survived")
	vm:run("true"):assert_ok()
end)
