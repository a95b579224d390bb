-- reset_between_tests (spec 6.4): every test begins with the guests as the file's chunk left them.
local function fails(t, pattern, call, ...)
	local ok, err = pcall(call, ...)
	t:assert(not ok, "expected an error with `" .. pattern .. "`")
	t:assert_contains(tostring(err), pattern)
end

provium.timeout = "3m"
provium.reset_between_tests = true
local vm = provium:vm("v", "linux", {memory = "160M", cpus = 2}):boot()
local resting = provium:vm("resting", "linux", {memory = "128M"})
local root, forks = provium, nil

-- A process that lives through all of it.
vm:run("mkdir -p /t && mount -t tmpfs none /t"):assert_ok()
vm:write_file("/t/value", "kept")
vm:run("setsid sh -c 'echo $$ > /t/pid; exec sleep 100000' < /dev/null > /dev/null 2>&1 &"):assert_ok()
wait_until(function() return pcall(vm.stat, vm, "/t/pid") and vm:stat("/t/pid").size > 0 end)
local pid = tonumber(vm:read_file("/t/pid"))
-- The agent is PID 1; the socket to us has a number that no other will have.
local function connection()
	return vm:run("ls -l /proc/1/fd | grep -o socket:.*").stdout
end
local connected = connection()
local boot_id = vm:read_file("/proc/sys/kernel/random/boot_id")

local function is_as_before(t)
	t:assert_eq(provium.v, vm)
	t:assert_eq(vm:state(), "booted")
	t:assert_eq(vm:read_file("/t/value"), "kept")
	t:assert(not pcall(vm.stat, vm, "/t/new"), "the last test's file is there")
	t:assert_eq(tonumber(vm:read_file("/t/pid")), pid)
	t:assert(vm:run("kill -0 " .. pid):ok(), "the process is gone")
	t:assert_eq(vm:read_file("/proc/sys/kernel/random/boot_id"), boot_id)
	t:assert_eq(resting:state(), "created")
	t:assert_contains(connected, "socket:[")
	t:assert_eq(connection(), connected, "the agent had to connect again")
end

-- What a test may do to its guests; what each leaves is looked at by the one after it.
local deeds = {
	{"writes files and kills a process", function(t)
		vm:write_file("/t/value", "changed")
		vm:write_file("/t/new", ("x"):rep(20 << 20))
		vm:run("kill -9 " .. pid):assert_ok()
	end},
	{"lets its kernel panic", function(t)
		vm:run("(sleep 0.1; echo c > /proc/sysrq-trigger) > /dev/null 2>&1 &")
		vm:console():expect("Kernel panic", 30)
	end, {expect_oops = true}},
	{"shuts it down", function(t)
		vm:write_file("/t/value", "changed")
		vm:shutdown()
	end},
	{"lets it power off", function(t)
		pcall(vm.run, vm, "poweroff -f; sleep 60")
	end},
	{"pauses it", function(t)
		vm:write_file("/t/value", "changed")
		vm:pause()
	end},
	{"lets it reboot on its own", function(t)
		pcall(vm.run, vm, "reboot -f; sleep 60")
	end},
	{"reboots it", function(t)
		vm:write_file("/t/value", "changed")
		vm:reset()
		t:assert_neq(vm:read_file("/proc/sys/kernel/random/boot_id"), boot_id)
	end},
	{"gives up a command", function(t)
		pcall(vm.run, vm, "sleep 1000", {timeout = "100ms"})
		vm:run("yes > /t/new & yes > /dev/null &"):assert_ok()
	end},
	{"saves and forks it", function(t)
		vm:write_file("/t/value", "changed")
		local s = vm:snapshot()
		forks = vm:fork(1)
		t:assert_eq(forks[1]:read_file("/t/value"), "changed")
	end},
	{"makes another VM in the file's lab", function(t)
		t:assert_eq(forks[1]:state(), "shutdown")
		root:vm("late", "linux", {memory = "128M"}):restore(vm:snapshot())
		t:assert_eq(provium.late:read_file("/t/value"), "kept")
	end},
	{"boots the one that rests", function(t)
		t:assert_eq(provium.late, nil)
		resting:boot()
		resting:write_file("/tmp/x", "y")
		t:assert_eq(vm:run("uname -s").stdout, "Linux\n")
	end},
	{"prints on the console", function(t)
		fails(t, "timed out waiting", function() vm:console():expect("a line of the last test", "50ms") end)
		vm:run("echo a line of the last test > /dev/ttyS0"):assert_ok()
		vm:console():expect("a line of the last test", 20)
	end},
	{"finds the console's log go on", function(t)
		fails(t, "timed out waiting", function() vm:console():expect("a line of the last test", "50ms") end)
		t:assert_contains(vm:console():read_log(), "a line of the last test")
	end},
}
for i, deed in ipairs(deeds) do
	test(i .. ": " .. deed[1], deed[3] or {}, function(t)
		is_as_before(t)
		deed[2](t)
	end)
end

-- Twenty in a row, each of which changes memory all over the place.
for i = 1, 20 do
	test("again " .. i, function(t)
		is_as_before(t)
		vm:write_file("/t/value", "changed " .. i)
		vm:run("dd if=/dev/urandom of=/t/new bs=1M count=" .. i % 4 + 1 .. " 2>/dev/null; kill -9 " .. pid):assert_ok()
	end)
end

test("nothing in the guest's log complains", function(t)
	is_as_before(t)
	t:assert_eq(vm:run("dmesg | grep -i -e 'soft lockup' -e 'clocksource.*unstable' -e 'rcu.*stall'").stdout, "")
end)
