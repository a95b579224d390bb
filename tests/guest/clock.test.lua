-- The guest's clocks (spec section 15): the date through the agent, and all of its time through the machine.
provium.timeout = "4m"

local function uptime(vm)
	return tonumber(vm:read_file("/proc/uptime"):match("^[%d.]+"))
end

-- A slow host makes the guest's watchdog of clocks late by seconds, which it says; ten and more are ours.
local function complaints(vm)
	return vm:run("dmesg | grep -i -e 'soft lockup' -e 'clocksource.*\\(unstable\\|skew\\)' -e 'long readout.*_nsec: [0-9]\\{11\\}' -e 'stall' -e 'blocked for more than'").stdout
end

local vm = provium:vm("v", "linux", {memory = "160M", cpus = 2, initial_time = 1e9}):boot()
local clock = vm:clock()
vm:run("mkdir -p /t && mount -t tmpfs none /t"):assert_ok()

-- How many programs of the guest sleep.
local function sleepers(guest)
	return tonumber((guest:run([[n=0
for p in /proc/[0-9]*; do
	read pid name state rest 2>/dev/null < $p/stat && [ "$name $state" = "(sleep) S" ] && n=$((n + 1))
done
echo $n]]).stdout))
end

-- Begins a program in the guest that leaves `file` when its time has come.
local function later(guest, seconds, file)
	local others = sleepers(guest)
	guest:run(("(sleep %d; cat /proc/uptime > /t/%s) > /dev/null 2>&1 &"):format(seconds, file)):assert_ok()
	wait_until(function() return sleepers(guest) > others end, {timeout = 30, desc = "the sleeper"})
end

local function has(guest, file)
	return (pcall(guest.stat, guest, "/t/" .. file))
end

test("the date is read, set and moved", function(t)
	local began = uptime(vm)
	t:assert(math.abs(clock:get() - 1e9) < 300, "the guest's clock says " .. clock:get())
	clock:set(1.5e9 + 0.25)
	t:assert(clock:get() >= 1.5e9 + 0.25 and clock:get() < 1.5e9 + 60, "the guest's clock says " .. clock:get())
	clock:set_ns(1600000000123456789)
	local now = clock:get_ns()
	t:assert(now >= 1600000000123456789 and now < 1600000060000000000, "the guest's clock says " .. now)
	clock:advance("1h")
	t:assert(clock:get() >= 1600003600, "the guest's clock says " .. clock:get())
	clock:advance("-2h")
	t:assert(clock:get() < 1600000000, "the guest's clock says " .. clock:get())
	clock:advance(-0.5)
	t:assert_eq(vm:run("date +%Y").stdout, "2020\n")
	t:assert(uptime(vm) - began < 60, "the monotonic clock has moved with it")
	local ok, err = pcall(clock.set, clock, -5)
	t:assert(not ok, "a time before 1970 was taken")
	t:assert_contains(tostring(err), "clock_settime: Invalid argument")
end)

test("a sleep is the guest's", function(t)
	local began = uptime(vm)
	clock:sleep("250ms")
	clock:sleep(0.25)
	t:assert(uptime(vm) - began >= 0.5, "slept for " .. uptime(vm) - began)
end)

test("a timer of 24 hours rings, and no watchdog barks", function(t)
	later(vm, 86400, "day")
	later(vm, 30 * 3600, "more")
	t:assert_eq(vm:read_file("/sys/devices/system/clocksource/clocksource0/current_clocksource"), "kvm-clock\n")
	local before, date = uptime(vm), clock:get()
	local began = os.time()
	clock:advance("24h", {monotonic = true})
	t:log(("a day in %d s of the host's"):format(os.time() - began))
	wait_until(function() return has(vm, "day") end, {timeout = 30, desc = "the timer"})
	local passed = uptime(vm) - before
	t:assert(passed >= 86400 and passed < 86400 + 120, "the guest lived through " .. passed)
	t:assert(clock:get() - date >= 86400 and clock:get() - date < 86400 + 120, "the date moved by " .. clock:get() - date)
	local rtc = tonumber(vm:read_file("/sys/class/rtc/rtc0/since_epoch"))
	t:assert(rtc >= 1e9 + 86400 and rtc < 1e9 + 87000, "the RTC says " .. rtc)
	t:assert(not has(vm, "more"), "a timer of 30 hours rang after 24")
	clock:advance("6h", {monotonic = true})
	wait_until(function() return has(vm, "more") end, {timeout = 30, desc = "the second timer"})
	t:assert_eq(complaints(vm), "")
end)

test("small steps, too, and a busy guest", function(t)
	vm:run("(while :; do :; done) > /dev/null 2>&1 & echo $! > /t/busy"):assert_ok()
	local before = uptime(vm)
	for _ = 1, 20 do clock:advance("700ms", {monotonic = true}) end
	clock:advance("10s", {monotonic = true})
	clock:advance("1h", {monotonic = true})
	local passed = uptime(vm) - before
	t:assert(passed >= 3624 and passed < 3624 + 120, "the guest lived through " .. passed)
	vm:run("kill $(cat /t/busy)"):assert_ok()
	t:assert_eq(complaints(vm), "")
end)

test("a snapshot has it, and the guest goes on", function(t)
	local before = uptime(vm)
	t:assert(before > 30 * 3600, "up for " .. before)
	later(vm, 7200, "restored")
	local r = provium:vm("r", "linux"):restore(vm:snapshot())
	t:assert(uptime(r) >= before and uptime(r) < before + 60, "up for " .. uptime(r))
	r:clock():advance(7200, {monotonic = true})
	wait_until(function() return has(r, "restored") end, {timeout = 30, desc = "the timer"})
	t:assert(not has(vm, "restored"), "the parent's timer rang")
	t:assert_eq(complaints(r), "")
	r:reset()
	t:assert(uptime(r) < 600, "after a reset the guest is up for " .. uptime(r))
end)

-- With one processor the TSC is watched by kvmclock; with two the guest has to be told that it is right.
for cpus, append in ipairs({"clocksource=tsc", "clocksource=tsc tsc=reliable"}) do
	test(("a day by the TSC of %d processors"):format(cpus), function(t)
		local v = provium:vm("c", "linux", {memory = "160M", cpus = cpus, kernel_cmdline_append = append}):boot()
		local source = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
		t:assert_eq(v:read_file(source), "tsc\n")
		v:run("mkdir -p /t && mount -t tmpfs none /t"):assert_ok()
		later(v, 86400, "day")
		local before = uptime(v)
		v:clock():advance("24h", {monotonic = true})
		wait_until(function() return has(v, "day") end, {timeout = 30, desc = "the timer"})
		t:assert(uptime(v) - before >= 86400 and uptime(v) - before < 86400 + 120, "the guest lived through " .. uptime(v) - before)
		t:assert_eq(complaints(v), "")
		t:assert_eq(v:read_file(source), "tsc\n")
	end)
end

test("what cannot be is refused", function(t)
	local ok, err = pcall(clock.advance, clock, -1, {monotonic = true})
	t:assert(not ok)
	t:assert_contains(tostring(err), "monotonic time cannot go back")
	ok, err = pcall(clock.advance, clock, 1e9, {monotonic = true})
	t:assert(not ok)
	t:assert_contains(tostring(err), "10 years at most")
	vm:pause()
	ok, err = pcall(clock.advance, clock, 1, {monotonic = true})
	t:assert(not ok)
	t:assert_contains(tostring(err), "is paused; use resume()")
	vm:resume()
end)
