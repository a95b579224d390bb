-- Suspend to RAM and wakeup (spec 7.1), and processors that come and go.
provium.timeout = "4m"

local function new(opts)
	local vm = provium:vm("v", "linux", opts):boot()
	vm:run("mkdir -p /t && mount -t tmpfs none /t"):assert_ok()
	return vm
end

-- Begins to suspend, in the background, and waits until the guest sleeps; then wakes it.
local function sleep_and_wake(vm)
	vm:run("(sleep 0.2; echo mem > /sys/power/state; echo $? > /t/done) < /dev/null > /dev/null 2>&1 &"):assert_ok()
	wait_until(function() return pcall(vm.wakeup, vm) end, {timeout = 60, desc = "the guest to sleep, and to wake up"})
end

local function log_of(vm)
	return vm:run("dmesg").stdout
end

test("a guest sleeps and wakes up", function(t)
	local vm = new({memory = "160M", cpus = 2})
	local ok, err = pcall(vm.wakeup, vm)
	t:assert(not ok, "a guest that is awake was woken")
	t:assert_contains(tostring(err), "the guest is not suspended")
	t:assert_contains(vm:read_file("/sys/power/mem_sleep"), "deep")
	vm:write_file("/sys/power/mem_sleep", "deep")
	vm:write_file("/t/kept", "in memory")
	local before = tonumber(vm:read_file("/proc/uptime"):match("^[%d.]+"))
	local boot_log = #log_of(vm)
	for round = 1, 3 do
		sleep_and_wake(vm)
		t:assert_eq(vm:state(), "booted")
		t:assert_eq(vm:read_file("/t/kept"), "in memory")
		t:assert_contains(log_of(vm), "ACPI: PM: Waking up from system sleep state S3")
		t:assert_eq(vm:read_file("/sys/devices/system/cpu/online"), "0-1\n", "round " .. round)
		wait_until(function() return (pcall(vm.stat, vm, "/t/done")) end, {timeout = 30, desc = "the shell that suspended"})
		t:assert_eq(vm:read_file("/t/done"), "0\n")
		vm:unlink("/t/done")
	end
	-- It has lived on, with its date, its entropy device and its console.
	local after = tonumber(vm:read_file("/proc/uptime"):match("^[%d.]+"))
	t:assert(after >= before and after < before + 200, ("up for %.1f s, then %.1f s"):format(before, after))
	t:assert(math.abs(tonumber((vm:run("date +%s").stdout)) - os.time()) < 100, "the date is off")
	t:assert_eq(#vm:run("dd if=/dev/hwrng bs=16 count=1 2>/dev/null | od -An -tx1 | tr -d ' \\n'").stdout, 32)
	vm:run("echo alive > /dev/ttyS0"):assert_ok()
	vm:console():expect("alive", 30)
	local log = log_of(vm):sub(boot_log + 1):lower()
	for _, complaint in ipairs({"soft lockup", "stall", "blocked for more", "unstable", "call trace", "failed to resume"}) do
		t:assert(not log:find(complaint, 1, true), complaint .. " in:\n" .. log)
	end
	-- And is as good as any: snapshot, restore, reset.
	local r = provium:vm("r", "linux"):restore(vm:snapshot())
	t:assert_eq(r:read_file("/t/kept"), "in memory")
	sleep_and_wake(r)
	t:assert_eq(r:read_file("/t/kept"), "in memory")
	vm:reset()
	t:assert(not pcall(vm.read_file, vm, "/t/kept"))
	vm:run("true"):assert_ok()
end)

test("a sleeping guest says so", function(t)
	local vm = new({memory = "160M"})
	vm:run("(sleep 0.2; echo mem > /sys/power/state) < /dev/null > /dev/null 2>&1 &"):assert_ok()
	local last
	wait_until(function()
		local ok, err = pcall(vm.run, vm, "true")
		last = tostring(err)
		return not ok and last:find("is suspended", 1, true)
	end, {timeout = 60, interval = 0.5, desc = "the guest to sleep"})
	t:assert_contains(last, "vm `v` is suspended; use wakeup() (cannot run)")
	t:assert_eq(vm:state(), "booted")
	local ok, err = pcall(vm.power_button, vm)
	t:assert(not ok)
	t:assert_contains(tostring(err), "is suspended; use wakeup()")
	vm:pause()
	vm:resume()
	vm:wakeup()
	vm:run("true"):assert_ok()
	ok, err = pcall(vm.wakeup, vm)
	t:assert(not ok)
	t:assert_contains(tostring(err), "the guest is not suspended")
end)

test("a processor goes and comes back", function(t)
	local vm = new({memory = "160M", cpus = 2})
	for _ = 1, 3 do
		vm:write_file("/sys/devices/system/cpu/cpu1/online", "0")
		t:assert_eq(vm:read_file("/sys/devices/system/cpu/online"), "0\n")
		vm:write_file("/sys/devices/system/cpu/cpu1/online", "1")
		t:assert_eq(vm:read_file("/sys/devices/system/cpu/online"), "0-1\n")
		vm:run("taskset 2 true"):assert_ok()
	end
	vm:write_file("/sys/devices/system/cpu/cpu1/online", "0")
	vm:clock():advance("1h", {monotonic = true})
	local r = provium:vm("r", "linux"):restore(vm:snapshot())
	t:assert_eq(r:read_file("/sys/devices/system/cpu/online"), "0\n")
	r:write_file("/sys/devices/system/cpu/cpu1/online", "1")
	t:assert_eq(r:read_file("/sys/devices/system/cpu/online"), "0-1\n")
	r:run("taskset 2 true"):assert_ok()
end)
