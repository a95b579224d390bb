-- Reports of guests' kernels for tests that expect them; tests/guest/verdicts has those that do not. Lines that are written to /dev/kmsg get
-- the kernel's own shape from printk, so nothing can tell them from what the kernel says itself.
local function says(line)
	return "echo '" .. line .. "' > /dev/kmsg"
end

provium.timeout = "3m"
local PANIC = "kernel panic: Kernel panic - not syncing: sysrq triggered crash"
local OOPS = "<1>BUG: kernel NULL pointer dereference, address: 0000000000000010"
local vm = provium:vm("v", "linux", {memory = "128M"}):boot()

local function fails(t, pattern, call, ...)
	local ok, err = pcall(call, ...)
	t:assert(not ok, "expected an error with `" .. pattern .. "`")
	t:assert_contains(tostring(err), pattern)
	return tostring(err)
end

test("an expected oops ends nothing", {expect_oops = true}, function(t)
	local r = vm:run(says(OOPS) .. "; sleep 2; echo here")
	r:assert_ok()
	t:assert_eq(r.stdout, "here\n")
	vm:console():expect("BUG: kernel NULL pointer dereference")
end)

test("what was expected once does not come back", function(t)
	vm:run("true"):assert_ok()
	vm:console():expect("BUG: kernel NULL pointer dereference")
end)

test("a task that hangs is reported by the guest's own kernel", {expect_oops = true}, function(t)
	vm:run([[
		set -e
		mkdir -p /tmp/frozen && dd if=/dev/zero of=/tmp/image bs=1M count=4 2>/dev/null && mke2fs -F /tmp/image > /dev/null
		mount -o loop -t ext2 /tmp/image /tmp/frozen
		echo 1 > /proc/sys/kernel/hung_task_timeout_secs
		fsfreeze --freeze /tmp/frozen
		touch /tmp/frozen/x > /dev/null 2>&1 &
	]]):assert_ok()
	vm:console():expect("blocked for more than 1 seconds", 60)
	vm:run("echo 0 > /proc/sys/kernel/hung_task_timeout_secs; fsfreeze --unfreeze /tmp/frozen"):assert_ok()
end)

test("programs that talk about it are no kernels", function(t)
	vm:run([[
		for console in /dev/ttyS0 /dev/hvc0; do
			[ -c $console ] || continue
			echo "testing: BUG: soft lockup - CPU#0 stuck for 22s! [x:1]" > $console
			echo "we wait for Kernel panic - not syncing: x" > $console
			echo "BUG: our own" > $console
			echo "WARNING: possible loss of data" > $console
		done
		echo "<3>WARNING: CPU: 0 PID: 1 at kernel/x.c:1 y+0x1/0x2" > /dev/kmsg
		echo "<3>test: Oops: nothing" > /dev/kmsg
	]]):assert_ok()
	vm:console():expect("possible loss of data")
	vm:console():expect("test: Oops: nothing")
end)

test("a panic ends a command with its text, and a reset helps", {expect_oops = true}, function(t)
	local err = fails(t, PANIC, vm.run, vm, "echo c > /proc/sysrq-trigger; sleep 1000")
	t:assert_contains(err, "vm `v`: ")
	t:assert_contains(err, "Call Trace:")
	-- Whatever is asked of it now has the same answer, at once.
	fails(t, "vm `v`: read_file: " .. PANIC, vm.read_file, vm, "/proc/version")
	fails(t, "vm `v`: snapshot: " .. PANIC, vm.snapshot, vm)
	vm:reset()
	vm:run("true"):assert_ok()
	fails(t, "timed out waiting", function() vm:console():expect("Kernel panic", "50ms") end)
end)

test("a panic that reboots at once is told, not the reboot", {expect_oops = true}, function(t)
	local rebooting = provium:vm("r", "linux", {memory = "128M"}):boot({kernel_cmdline_append = "panic=-1"})
	fails(t, PANIC, rebooting.run, rebooting, "echo c > /proc/sysrq-trigger; sleep 1000")
	-- It comes up again by itself.
	wait_until(function() return pcall(rebooting.run, rebooting, "true") end, {timeout = 60})
end)

test("a panic ends what waits for the console", {expect_oops = true}, function(t)
	local fork = vm:fork(1)[1]
	fork:run("(sleep 0.5; echo c > /proc/sysrq-trigger) > /dev/null 2>&1 &"):assert_ok()
	fails(t, "vm `v#1`: console:expect: " .. PANIC, function() fork:console():expect("never printed", 1000) end)
	-- The guest that it was copied from is not concerned.
	vm:run("true"):assert_ok()
end)

test("a panic ends what waits for a stream", {expect_oops = true}, function(t)
	local fork = vm:fork(1)[1]
	local stream = fork:console():read()
	fork:run("(sleep 0.5; echo c > /proc/sysrq-trigger) > /dev/null 2>&1 &"):assert_ok()
	fails(t, "vm `v#1`: ", function() stream:read_until("never printed", 1000) end)
end)

test("a copy of a guest that was in trouble is in none", function(t)
	local fork = vm:fork(1)[1]
	fork:run("true"):assert_ok()
end)
